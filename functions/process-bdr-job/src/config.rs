//! The function's environment. Nothing else reads it.

use std::collections::HashSet;
use std::time::Duration;

use email_address::EmailAddress;
use shared::aws::Trust;
use shared::config::{ConfigError, Environment};
use shared::database::DatabaseSource;
use shared::sqid::SqidSource;
use shared::trace::Endpoint;
use zip_to_s3::plan::Prefer;

use crate::archive::{Extras, SEGMENT_ARTWORKS, Segments};
use crate::artwork::{VaultUrls, is_extra_format, is_reserved};
use crate::limits::RequestLimits;
use crate::memory::{MIB, Memory};
use crate::wording::Wording;

/// The configuration of `process-bdr-job`.
#[derive(Clone)]
pub struct Config {
    /// `DATABASE_URL` or `DATABASE_SECRET_ARN`.
    pub database: DatabaseSource,
    /// `AWS_CA_BUNDLE`: the certificate authorities that the AWS clients trust.
    pub trust: Trust,
    /// `VAULT_BUCKET`.
    pub vault_bucket: String,
    /// Whether S3 uses an endpoint without a host name per bucket.
    pub s3_path_style: bool,
    /// `BASE_URL` of the site, without a trailing slash.
    pub base_url: String,
    /// `BRAND_NAME` and `ARTWORK_WORDS`: the names and words of the site.
    pub wording: Wording,
    /// `ARTIST_PATH`: the page of an artist, below `BASE_URL`.
    pub artist_path: String,
    /// `ARTWORKS_FOLDER`: the folder of the artworks in an archive.
    pub artworks_folder: String,
    /// `PREFER`: whether S3 copies large artworks where that is cheaper, or wherever it is faster.
    pub prefer: Prefer,
    /// `GALLERY_PAGE` and `CHECKSUMS`: what an archive has besides its artworks and their documents.
    pub extras: Extras,
    /// `EMAIL_FROM`. Without it no e-mail is sent.
    pub email_from: Option<String>,
    /// `EMAIL_CONFIGURATION_SET`: the SES configuration set of the e-mails.
    pub email_configuration_set: Option<String>,
    /// `EMAIL_ON_FAILURE`: whether an e-mail reports a request that failed.
    pub email_on_failure: bool,
    /// `SQIDS_ALPHABET`.
    pub sqids: SqidSource,
    /// `BDR_QUEUE_URL`.
    pub queue_url: String,
    /// `MAX_RECEIVE_COUNT`.
    pub max_receive_count: u32,
    /// `LEASE_SECONDS`: the time for which a dead attempt's message stays invisible.
    pub lease: Duration,
    /// `RETRY_BASE_SECONDS`.
    pub retry_base: Duration,
    /// `EXPIRES_AFTER_DAYS`.
    pub expires_after_days: i32,
    /// `EXTRA_FORMATS`: file formats accepted beside the built-in ones.
    pub extra_formats: HashSet<String>,
    /// `VAULT_URL_PREFIXES`: URLs under which the site publishes the vault.
    pub vault_urls: VaultUrls,
    /// `REMOTE_ALLOW_HOSTS`: `host:port` pairs exempt from the ban on private addresses.
    pub remote_allow_hosts: HashSet<String>,
    /// `STACK_NAME`: the dimension `stack` of the metrics.
    pub stack: String,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector of traces. Without it, tracing is off.
    pub otlp_endpoint: Option<Endpoint>,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, in MiB.
    pub memory_mib: u64,
    /// `MAX_ARTWORKS` and `MAX_ARCHIVE_BYTES`.
    pub limits: RequestLimits,
    /// `MAX_ARTWORK_BYTES` and the function's memory, divided.
    pub memory: Memory,
    /// `EXPORT_STATE_MACHINE_ARN`: the state machine of large exports. Without it, there are none.
    pub state_machine_arn: Option<String>,
    /// The bytes (`SEGMENT_BYTES`) and artworks beyond which a request becomes a large export.
    pub segments: Segments,
}

/// The variable with the ARN of the state machine of large exports.
const STATE_MACHINE: &str = "EXPORT_STATE_MACHINE_ARN";
/// What a numeric variable must be.
const NUMBER: &str = "a whole number of at least 1";

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a variable is missing or malformed; the error names it.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let max_artwork_bytes =
            environment.parsed("MAX_ARTWORK_BYTES", 64 * MIB, NUMBER, |bytes| *bytes >= 1)?;
        let memory_mib =
            environment.parsed("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 512, NUMBER, |mib| *mib >= 1)?;
        Ok(Self {
            trust: Trust::from_environment(environment)?,
            database: DatabaseSource::from_environment(environment)?,
            vault_bucket: environment.required("VAULT_BUCKET")?.to_owned(),
            s3_path_style: environment.has_s3_endpoint(),
            base_url: base_url(environment)?,
            wording: wording(environment)?,
            artist_path: artist_path(environment)?,
            artworks_folder: artworks_folder(environment)?,
            prefer: prefer(environment)?,
            extras: extras(environment)?,
            email_from: email_from(environment)?,
            email_configuration_set: environment
                .optional("EMAIL_CONFIGURATION_SET")
                .map(str::to_owned),
            email_on_failure: flag(environment, "EMAIL_ON_FAILURE")?,
            sqids: SqidSource::new(environment.optional("SQIDS_ALPHABET"))?,
            queue_url: environment.required("BDR_QUEUE_URL")?.to_owned(),
            max_receive_count: environment.parsed("MAX_RECEIVE_COUNT", 4, NUMBER, |n| *n >= 1)?,
            lease: Duration::from_secs(environment.parsed(
                "LEASE_SECONDS",
                120,
                "a number of seconds from 1 to 43200",
                |seconds| (1..=43_200).contains(seconds),
            )?),
            retry_base: Duration::from_secs(environment.parsed(
                "RETRY_BASE_SECONDS",
                60,
                "a number of seconds from 0 to 600",
                |seconds| *seconds <= 600,
            )?),
            expires_after_days: environment.parsed(
                "EXPIRES_AFTER_DAYS",
                7,
                "a number of days from 1 to 365",
                |days| (1..=365).contains(days),
            )?,
            extra_formats: environment.list(
                "EXTRA_FORMATS",
                "file extensions of up to 10 letters and digits, separated by commas, and none that \
                 a desktop executes or opens in a browser, such as exe, js, html or svg",
                is_extra_format,
            )?,
            vault_urls: vault_urls(environment)?,
            remote_allow_hosts: environment.list(
                "REMOTE_ALLOW_HOSTS",
                "`host:port` pairs, separated by commas, an IPv6 address in brackets",
                is_authority,
            )?,
            stack: environment.optional("STACK_NAME").unwrap_or("default").to_owned(),
            otlp_endpoint: otlp_endpoint(environment)?,
            memory_mib,
            limits: limits(environment)?,
            memory: Memory::plan(memory_mib * MIB, max_artwork_bytes),
            state_machine_arn: environment
                .optional(STATE_MACHINE)
                .map(str::to_owned),
            segments: Segments {
                bytes: environment.parsed("SEGMENT_BYTES", 1024 * MIB, NUMBER, |n| *n >= 1)?,
                artworks: SEGMENT_ARTWORKS,
            },
        })
    }
}

fn limits(environment: &Environment) -> Result<RequestLimits, ConfigError> {
    let limit = |name| environment.parsed(name, u64::MAX, NUMBER, |limit| *limit >= 1);
    let (artworks, bytes) = (limit("MAX_ARTWORKS")?, limit("MAX_ARCHIVE_BYTES")?);
    Ok(match environment.optional(STATE_MACHINE) {
        Some(_) => RequestLimits::with_exports(artworks, bytes),
        None => RequestLimits::new(artworks, bytes),
    })
}

/// Reads a flag that is on by default.
fn flag(environment: &Environment, variable: &'static str) -> Result<bool, ConfigError> {
    environment.parsed(variable, true, "`true` or `false`", |_| true)
}

fn prefer(environment: &Environment) -> Result<Prefer, ConfigError> {
    match environment.optional("PREFER") {
        None | Some("price") => Ok(Prefer::Price),
        Some("speed") => Ok(Prefer::Speed),
        Some(_) => Err(ConfigError::new("PREFER", "must be `price` or `speed`")),
    }
}

fn extras(environment: &Environment) -> Result<Extras, ConfigError> {
    let gallery_page = flag(environment, "GALLERY_PAGE")?;
    // A ZIP without the page is that of earlier versions.
    let checksums = flag(environment, "CHECKSUMS")? && gallery_page;
    Ok(Extras { gallery_page, checksums })
}

fn base_url(environment: &Environment) -> Result<String, ConfigError> {
    let text = environment.optional("BASE_URL").unwrap_or("https://makapix.club");
    let is_site = url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if !is_site {
        return Err(ConfigError::new("BASE_URL", "must be an http(s) URL without a query"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn vault_urls(environment: &Environment) -> Result<VaultUrls, ConfigError> {
    const VARIABLE: &str = "VAULT_URL_PREFIXES";
    let Some(text) = environment.optional(VARIABLE) else { return Ok(VaultUrls::default()) };
    let problem = "must be http(s) URLs in normal form that end in `/`, separated by commas";
    VaultUrls::parse(text).ok_or_else(|| ConfigError::new(VARIABLE, problem))
}

fn otlp_endpoint(environment: &Environment) -> Result<Option<Endpoint>, ConfigError> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let Some(text) = environment.optional(VARIABLE) else { return Ok(None) };
    let problem = "must be an http(s) URL without credentials and without a query";
    Endpoint::parse(text).map(Some).ok_or_else(|| ConfigError::new(VARIABLE, problem))
}

/// Reads the names of the site, which stand in the subject and in sentences of e-mails.
fn wording(environment: &Environment) -> Result<Wording, ConfigError> {
    let is_word = |text: &str| {
        text.chars().count() <= 30 && text.trim() == text && !text.chars().any(char::is_control)
    };
    let brand = environment.optional("BRAND_NAME");
    if !brand.is_none_or(is_word) {
        return Err(ConfigError::new("BRAND_NAME", "must be a name of at most 30 characters"));
    }
    let artwork = match environment.optional("ARTWORK_WORDS") {
        None => None,
        Some(text) => {
            let words = text.split_once(',').filter(|(one, several)| {
                [one, several]
                    .iter()
                    .all(|word| !word.is_empty() && is_word(word) && !word.contains(','))
            });
            let problem =
                "must be the words for one and for several artworks, such as `photo,photos`";
            let (one, several) = words.ok_or_else(|| ConfigError::new("ARTWORK_WORDS", problem))?;
            Some([one, several])
        }
    };
    Ok(Wording::new(brand, artwork))
}

/// Reads the path of an artist's page.
fn artist_path(environment: &Environment) -> Result<String, ConfigError> {
    let text = environment.optional("ARTIST_PATH").unwrap_or("/u/{user}/posts?bdr={request}");
    let plain = text.replace("{user}", "").replace("{request}", "");
    let is_path = text.starts_with('/')
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/?=&._~-".contains(&byte))
        && text.len() <= 200;
    if !is_path {
        let problem = "must be a path such as `/u/{user}/posts?bdr={request}`";
        return Err(ConfigError::new("ARTIST_PATH", problem));
    }
    Ok(text.to_owned())
}

/// Reads the folder of the artworks, a name that no file system rejects.
fn artworks_folder(environment: &Environment) -> Result<String, ConfigError> {
    let folder = environment.optional("ARTWORKS_FOLDER").unwrap_or("artworks");
    let is_name = folder.len() <= 30
        && folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        && !folder.starts_with('-')
        && !is_reserved(folder);
    if !is_name {
        let problem = "must be a folder name of at most 30 letters, digits, `-` and `_`";
        return Err(ConfigError::new("ARTWORKS_FOLDER", problem));
    }
    Ok(folder.to_owned())
}

/// Reads the sender. SES accepts ASCII only, and a line break would inject headers.
fn email_from(environment: &Environment) -> Result<Option<String>, ConfigError> {
    let Some(text) = environment.optional("EMAIL_FROM") else { return Ok(None) };
    let is_one_ascii_line = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_one_ascii_line || !EmailAddress::is_valid(text) {
        let problem = "must be an address or `Name <address>`, in ASCII";
        return Err(ConfigError::new("EMAIL_FROM", problem));
    }
    Ok(Some(text.to_owned()))
}

/// Returns whether `text` is a host and a port in the normal form that the URL parser yields.
fn is_authority(text: &str) -> bool {
    url::Url::parse(&format!("http://{text}")).is_ok_and(|url| {
        let port = url.port_or_known_default().filter(|port| *port > 0);
        let host = url.host().zip(port).map(|(host, port)| format!("{host}:{port}"));
        host.is_some_and(|host| host == text)
    })
}

#[cfg(test)]
mod tests {
    use shared::config::Environment;
    use zip_to_s3::plan::Prefer;

    use super::Config;
    use crate::limits::RequestLimits;

    const MINIMUM: [(&str, &str); 3] = [
        ("DATABASE_URL", "postgresql://u@localhost/d"),
        ("VAULT_BUCKET", "vault"),
        ("BDR_QUEUE_URL", "https://sqs.example/q"),
    ];

    #[test]
    fn defaults_match_the_contract() {
        let config = Config::from_environment(&Environment::of(MINIMUM)).unwrap();
        assert_eq!(config.base_url, "https://makapix.club");
        assert_eq!((config.max_receive_count, config.expires_after_days), (4, 7));
        assert_eq!((config.lease.as_secs(), config.retry_base.as_secs()), (120, 60));
        assert_eq!(config.memory.max_artwork_bytes, 67_108_864);
        assert_eq!(config.limits, RequestLimits::default());
        assert!(config.email_on_failure && config.extras.gallery_page && config.extras.checksums);
        assert_eq!(config.prefer, Prefer::Price);
        assert!(config.otlp_endpoint.is_none(), "tracing is off");
        assert!(config.email_from.is_none() && config.remote_allow_hosts.is_empty());
    }

    #[test]
    fn lists_and_senders_are_parsed() {
        let of = |variable, value| {
            let environment = Environment::of(MINIMUM.into_iter().chain([(variable, value)]));
            Config::from_environment(&environment).unwrap()
        };
        let hosts = "A.org:80, 127.0.0.1:8080,[::1]:65535,xn--bcher-kva.example:443";
        let hosts = of("REMOTE_ALLOW_HOSTS", hosts).remote_allow_hosts;
        for host in ["a.org:80", "127.0.0.1:8080", "[::1]:65535", "xn--bcher-kva.example:443"] {
            assert!(hosts.contains(host), "{host}");
        }
        assert_eq!(of("EXTRA_FORMATS", "avif,apng").extra_formats.len(), 2);
        for sender in ["no-reply@makapix.club", "Makapix Club <no-reply@makapix.club>"] {
            assert_eq!(of("EMAIL_FROM", sender).email_from.as_deref(), Some(sender));
        }
        assert!(!of("EMAIL_ON_FAILURE", "false").email_on_failure);
        assert_eq!(of("PREFER", "speed").prefer, Prefer::Speed);
        let page_only = of("CHECKSUMS", "false").extras;
        assert!(page_only.gallery_page && !page_only.checksums);
        assert!(
            !of("GALLERY_PAGE", "false").extras.checksums,
            "the archive of earlier versions has none"
        );
    }

    #[test]
    fn an_error_names_the_malformed_variable() {
        let wrong = [
            ("DATABASE_URL", "mysql://h"),
            ("VAULT_BUCKET", ""),
            ("BDR_QUEUE_URL", ""),
            ("BASE_URL", "makapix.club"),
            ("EMAIL_ON_FAILURE", "yes"),
            ("GALLERY_PAGE", "on"),
            ("CHECKSUMS", "sha256"),
            ("PREFER", "money"),
            ("MAX_RECEIVE_COUNT", "0"),
            ("LEASE_SECONDS", "0"),
            ("RETRY_BASE_SECONDS", "-1"),
            ("EXPIRES_AFTER_DAYS", "seven"),
            ("MAX_ARTWORK_BYTES", "64MB"),
            ("MAX_ARTWORKS", "0"),
            ("MAX_ARCHIVE_BYTES", "1GB"),
            ("SEGMENT_BYTES", "0"),
            ("SQIDS_ALPHABET", "a"),
            ("EXTRA_FORMATS", "avif,,apng"),
            ("EXTRA_FORMATS", ".avif"),
            ("EXTRA_FORMATS", "abcdefghijk"),
            ("EXTRA_FORMATS", "avif,exe"),
            ("EXTRA_FORMATS", "svg"),
            ("VAULT_URL_PREFIXES", "https://vault.example"),
            ("VAULT_URL_PREFIXES", "https://vault.example/,"),
            ("BRAND_NAME", "a\r\nb"),
            ("BRAND_NAME", &"a".repeat(31)),
            ("ARTWORK_WORDS", "photo"),
            ("ARTWORK_WORDS", "photo,"),
            ("ARTWORK_WORDS", "a,b,c"),
            ("ARTIST_PATH", "u/{user}"),
            ("ARTIST_PATH", "/u/{artist}"),
            ("ARTIST_PATH", "/u/{user}#top"),
            ("ARTWORKS_FOLDER", "../x"),
            ("ARTWORKS_FOLDER", "a/b"),
            ("ARTWORKS_FOLDER", "CON"),
            ("ARTWORKS_FOLDER", "-x"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@localhost:4318"),
            ("EMAIL_FROM", "Makapix"),
            ("EMAIL_FROM", "a@b.org, c@d.org"),
            ("EMAIL_FROM", "Makapix a@b.org"),
            ("EMAIL_FROM", "Makapix\r\nBcc: x@y.org <a@b.org>"),
            ("EMAIL_FROM", "Mäkapix <a@b.org>"),
            ("EMAIL_FROM", "Makapix <a@b.org"),
            ("REMOTE_ALLOW_HOSTS", "localhost"),
            ("REMOTE_ALLOW_HOSTS", "localhost:"),
            ("REMOTE_ALLOW_HOSTS", "localhost:0"),
            ("REMOTE_ALLOW_HOSTS", "localhost:65536"),
            ("REMOTE_ALLOW_HOSTS", "localhost:8080/"),
            ("REMOTE_ALLOW_HOSTS", "http://localhost:8080"),
            ("REMOTE_ALLOW_HOSTS", "user@localhost:8080"),
            ("REMOTE_ALLOW_HOSTS", "local host:8080"),
            ("REMOTE_ALLOW_HOSTS", "127.1:8080"),
            ("REMOTE_ALLOW_HOSTS", "::1:8080"),
            ("REMOTE_ALLOW_HOSTS", "[0:0::1]:8080"),
            ("REMOTE_ALLOW_HOSTS", "a.org:80;b.org:80"),
            ("REMOTE_ALLOW_HOSTS", "a.org:80,"),
        ];
        for (variable, value) in wrong {
            let variables = MINIMUM.into_iter().filter(|(name, _)| *name != variable);
            let environment = Environment::of(variables.chain([(variable, value)]));
            let error = Config::from_environment(&environment).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|error| error.contains(variable)),
                "{variable}={value}: {error:?}"
            );
        }
    }
}
