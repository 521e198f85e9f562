//! AWS Signature Version 4 ("Authenticating Requests: Using the Authorization Header", Amazon S3 API
//! Reference).
//!
//! The cryptography is that of `aws-sigv4`. Its own signing of a request derives the key each time
//! and builds the canonical request from a map of headers. Here the key is derived once a day, and
//! the canonical request is one string: the headers are few, known, and sorted by their caller.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_s3::config::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// A header of a request.
pub(super) type Header = (&'static str, String);

/// The part of a request that is signed.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    /// The encoded path.
    pub(super) path: &'a str,
    /// The encoded query, sorted by name.
    pub(super) query: &'a str,
    /// The headers, all of which are signed, sorted by name. Must include `host`.
    pub(super) headers: &'a [Header],
    /// The value of the header `x-amz-content-sha256`.
    pub(super) payload: &'a str,
}

/// The place and time of a signature.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) time: SystemTime,
}

/// Signs requests. Keeps the key of the last scope.
#[derive(Default)]
pub(super) struct Signer {
    key: Mutex<Option<Arc<Key>>>,
}

/// A signing key, which is valid for one day, region, service and secret.
struct Key {
    secret: String,
    /// `<day>/<region>/<service>/aws4_request`
    scope: String,
    bytes: Vec<u8>,
}

impl Signer {
    /// Returns the value of the header `authorization`.
    pub(super) fn authorization(
        &self,
        request: &Signable<'_>,
        credentials: &Credentials,
        scope: Scope<'_>,
    ) -> String {
        let date_time = date_time(scope.time);
        let key = self.key(credentials.secret_access_key(), scope, &date_time[..8]);
        let mut signed_headers = String::with_capacity(128);
        let mut canonical = String::with_capacity(1024);
        let Signable { method, path, query, headers, payload } = request;
        for text in [method, "\n", path, "\n", query, "\n"] {
            canonical.push_str(text);
        }
        for (name, value) in *headers {
            for text in [*name, ":", value.trim(), "\n"] {
                canonical.push_str(text);
            }
            if !signed_headers.is_empty() {
                signed_headers.push(';');
            }
            signed_headers.push_str(name);
        }
        for text in ["\n", &signed_headers, "\n", payload] {
            canonical.push_str(text);
        }
        let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date_time}\n{}\n{hash}", key.scope);
        let signature = calculate_signature(&key.bytes, to_sign.as_bytes());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={signed_headers}, Signature={signature}",
            credentials.access_key_id(),
            key.scope
        )
    }

    fn key(&self, secret: &str, Scope { region, service, time }: Scope<'_>, day: &str) -> Arc<Key> {
        let mut kept = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current = |key: &&Arc<Key>| {
            let mut scope = key.scope.split('/');
            key.secret == secret
                && scope.next() == Some(day)
                && scope.next() == Some(region)
                && scope.next() == Some(service)
        };
        if let Some(key) = kept.as_ref().filter(is_current) {
            return Arc::clone(key);
        }
        let key = Arc::new(Key {
            secret: secret.to_owned(),
            scope: format!("{day}/{region}/{service}/aws4_request"),
            bytes: generate_signing_key(secret, time, region, service).as_ref().to_vec(),
        });
        kept.insert(key).clone()
    }
}

/// Returns the value of the header `x-amz-date`.
pub(super) fn date_time(time: SystemTime) -> String {
    let utc = OffsetDateTime::from(time);
    let (year, month, day) = utc.to_calendar_date();
    let (hour, minute, second) = utc.to_hms();
    let mut text = String::with_capacity(16);
    // Writing to a string does not fail.
    let _ =
        write!(text, "{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month));
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_sdk_s3::config::Credentials;
    use aws_sigv4::http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4::SigningParams;

    use super::{Scope, Signable, Signer, date_time};

    /// Returns the value of `authorization` according to `aws-sigv4`.
    fn expected(credentials: &Credentials, scope: Scope<'_>) -> String {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let identity = credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(scope.region)
            .name(scope.service)
            .time(scope.time)
            .settings(settings)
            .build()
            .unwrap();
        let payload = SignableBody::Precomputed("payload".to_owned());
        let headers = [("range", "bytes=0-9 ")].into_iter();
        let url = "https://host/a//b%20c?partNumber=1&uploadId=x%2By";
        let request = SignableRequest::new("PUT", url, headers, payload).unwrap();
        let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
        let mut headers = instructions.headers();
        headers.find(|header| header.0 == "authorization").unwrap().1.to_owned()
    }

    #[test]
    fn signatures_are_those_of_aws_sigv4_for_every_day_region_and_key() {
        let signer = Signer::default();
        let last_second = SystemTime::UNIX_EPOCH + Duration::from_secs(19_676 * 86_400 - 1);
        let scopes = [("eu-north-1", "s3"), ("eu-north-1", "s3-object-lambda"), ("x", "s3")];
        let secrets = ["a/secret+key", "another"];
        // Each differs from the one before in one thing; the last second repeats the day.
        let mut cases = Vec::new();
        for second in 0..3 {
            cases.push((scopes[0], secrets[0], second));
        }
        cases.extend(scopes.map(|scope| (scope, secrets[0], 2)));
        cases.extend(secrets.map(|secret| (scopes[2], secret, 2)));
        for ((region, service), secret, second) in cases {
            let time = last_second + Duration::from_secs(second);
            let scope = Scope { region, service, time };
            let credentials = Credentials::new("AKID", secret, None, None, "test");
            let headers = [
                ("host", "host".to_owned()),
                ("range", "bytes=0-9 ".to_owned()),
                ("x-amz-date", date_time(time)),
            ];
            let signable = Signable {
                method: "PUT",
                path: "/a//b%20c",
                query: "partNumber=1&uploadId=x%2By",
                headers: &headers,
                payload: "payload",
            };
            let authorization = signer.authorization(&signable, &credentials, scope);
            assert_eq!(authorization, expected(&credentials, scope));
        }
        assert_eq!(date_time(last_second), "20231114T235959Z");
    }
}
