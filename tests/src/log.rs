//! The log of what runs on this thread, in the form in which Lambda gets it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use shared::config::Environment;
use shared::metrics::Metrics;
use shared::telemetry::Logs;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

/// The lines logged so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to catch what this thread logs, until the guard is dropped: more than an operator can
    /// ask for with the template's parameter `LogLevel`.
    #[must_use]
    pub fn catch() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let layer = shared::telemetry::json_layer(move || writer.clone());
        let logs = Logs::from_environment(&Environment::of([("AWS_LAMBDA_LOG_LEVEL", "TRACE")]));
        let subscriber = tracing_subscriber::registry().with(logs.filter()).with(layer);
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// All lines as they were written.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// All lines, each one JSON object.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Where a function in this process sends its metrics: here, as Lambda gets both from one place.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let log = self.clone();
        Metrics::to(shared::clock::Clock::system(), 512, move |lines| {
            log.0.lock().unwrap().extend_from_slice(lines);
        })
    }

    /// The lines that are metrics, each held to the format's specification.
    #[must_use]
    pub fn emitted(&self) -> Vec<Value> {
        let lines = self.lines().into_iter().filter(|line| line.get("_aws").is_some());
        lines.inspect(crate::emf::check).collect()
    }

    /// The outcome line of the last attempt: the one that has a `result`.
    #[must_use]
    pub fn outcome(&self) -> Value {
        let mut lines = self.lines();
        let last = lines.iter().rposition(|line| line.get("result").is_some());
        lines.swap_remove(last.expect("an outcome line"))
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
