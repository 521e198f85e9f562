//! Logs in Lambda's JSON format: one object per line with `timestamp` (RFC 3339), `level`,
//! `message`, and the fields of the event and of all its spans at the top level (`requestId`,
//! `bdr_id`, …). Lambda assigns level INFO to a line without a valid `timestamp`.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::time::UtcTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Environment;

/// The crates whose events hold no secrets at any level.
const OWN_CRATES: [&str; 5] =
    ["shared", "process_bdr_job", "cleanup_expired_bdrs", "presign_bdr_download", "run_canary"];

/// The format and the filter of the log.
#[derive(Debug, Clone)]
pub struct Logs {
    json: bool,
    filter: String,
}

impl Logs {
    /// Reads `AWS_LAMBDA_LOG_FORMAT` (`JSON`, the default here, or `Text`), and the level from
    /// `RUST_LOG`, else `AWS_LAMBDA_LOG_LEVEL`, else `info`.
    ///
    /// `DEBUG` in `AWS_LAMBDA_LOG_LEVEL` applies only to the crates of this repository, because the
    /// database driver logs parameters at that level; `RUST_LOG` overrides this. Release builds
    /// contain no events below `DEBUG`: at `TRACE` the SDK logs the headers that authorize its
    /// requests.
    #[must_use]
    pub fn from_environment(environment: &Environment) -> Self {
        let format = environment.optional("AWS_LAMBDA_LOG_FORMAT").unwrap_or("JSON");
        let level = environment.optional("AWS_LAMBDA_LOG_LEVEL").unwrap_or("info").to_lowercase();
        let filter = environment.optional("RUST_LOG").map_or_else(
            || match level.as_str() {
                "debug" | "trace" => {
                    OWN_CRATES.map(|name| format!("{name}={level}")).join(",") + ",info"
                }
                _ => level.clone(),
            },
            str::to_owned,
        );
        Self { json: !format.eq_ignore_ascii_case("text"), filter }
    }

    /// Returns the filter: `level` or `crate::module=level`, separated by commas. Ignores malformed
    /// parts; without a valid part the filter is `info`.
    #[must_use]
    pub fn filter(&self) -> Targets {
        let parts = self.filter.split(',').map(str::trim).filter(|part| !part.is_empty());
        let known: Vec<_> = parts.filter(|part| part.parse::<Targets>().is_ok()).collect();
        let info = || Targets::new().with_default(LevelFilter::INFO);
        if known.is_empty() { info() } else { known.join(",").parse().unwrap_or_else(|_| info()) }
    }

    /// Installs the log of the process. A second call changes nothing.
    pub fn init(&self) {
        let filter = self.filter();
        // `try_init` fails if a subscriber is installed; the first one stays.
        let _ = if self.json {
            registry().with(filter).with(json_layer(std::io::stdout)).try_init()
        } else {
            registry()
                .with(filter)
                .with(tracing_subscriber::fmt::layer().with_ansi(false))
                .try_init()
        };
        log_panics();
    }
}

/// Logs a panic as one line with the fields of its spans, so that a search by request finds it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(location, "panicked: {message}");
    }));
}

/// Returns the layer that writes JSON lines to `writer`.
pub fn json_layer<S, W>(writer: W) -> json_subscriber::JsonLayer<S, W>
where
    S: tracing::Subscriber + for<'a> registry::LookupSpan<'a>,
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + 'static,
{
    let mut layer = json_subscriber::JsonLayer::new(writer);
    layer.with_timer("timestamp", UtcTime::rfc_3339());
    layer.with_level("level");
    layer.with_target("target");
    layer.with_top_level_flattened_span_list();
    layer.with_flattened_event();
    layer
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::Level;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_debug_level_applies_to_own_crates_only() {
        let filter = |variables: &[(&str, &str)]| {
            let environment = crate::config::Environment::of(variables.iter().copied());
            super::Logs::from_environment(&environment).filter
        };
        let debug = filter(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]);
        assert!(debug.starts_with("shared=debug,") && debug.ends_with(",info"), "{debug}");
        assert_eq!(filter(&[("AWS_LAMBDA_LOG_LEVEL", "INFO")]), "info");
        assert_eq!(filter(&[]), "info");
        assert_eq!(filter(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG"), ("RUST_LOG", "trace")]), "trace");
    }

    #[test]
    fn a_malformed_part_of_a_filter_is_ignored() {
        let enabled = |filter: &str, target: &str| {
            let environment = crate::config::Environment::of([("RUST_LOG", filter)]);
            let filter = super::Logs::from_environment(&environment).filter();
            let levels = [Level::ERROR, Level::INFO, Level::DEBUG];
            levels.into_iter().filter(|level| filter.would_enable(target, level)).max()
        };
        assert_eq!(enabled("info, shared=debug", "shared::vault"), Some(Level::DEBUG));
        assert_eq!(enabled("info, shared=debug", "hyper"), Some(Level::INFO));
        assert_eq!(enabled("info,", "shared"), Some(Level::INFO));
        assert_eq!(enabled("error,shared=loud", "shared"), Some(Level::ERROR));
        assert_eq!(enabled("shared=loud", "shared"), Some(Level::INFO));
        assert_eq!(enabled(",", "shared"), Some(Level::INFO));
    }

    #[test]
    fn span_fields_are_at_the_top_level_of_the_line() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber =
            tracing_subscriber::registry().with(super::json_layer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _outer = tracing::info_span!("invoke", requestId = "r-1").entered();
            let _inner = tracing::info_span!("bdr", bdr_id = "b-1", receive_count = 2).entered();
            tracing::warn!(size_bytes = 7, "hello");
        });
        let line: serde_json::Value =
            serde_json::from_slice(&sink.0.lock().unwrap()).expect("one JSON line");
        assert_eq!(line["requestId"], "r-1");
        assert_eq!(line["bdr_id"], "b-1");
        assert_eq!(line["receive_count"], 2);
        assert_eq!(line["size_bytes"], 7);
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "hello");
        let timestamp = line["timestamp"].as_str().unwrap();
        time::OffsetDateTime::parse(timestamp, &time::format_description::well_known::Rfc3339)
            .expect("RFC 3339");
    }
}
