//! The log and the metrics of the functions in this process, in the format that Lambda receives.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use shared::config::Environment;
use shared::metrics::Metrics;
use shared::telemetry::Logs;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

/// The lines so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Starts to collect what this thread logs, until the guard is dropped. The level is TRACE, below
    /// the lowest that the template's parameter `LogLevel` allows.
    #[must_use]
    pub fn catch() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let layer = shared::telemetry::json_layer(move || writer.clone());
        let logs = Logs::from_environment(&Environment::of([("AWS_LAMBDA_LOG_LEVEL", "TRACE")]));
        let subscriber = tracing_subscriber::registry().with(logs.filter()).with(layer);
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Returns all lines as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Returns all lines, each a JSON object.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).expect("a line of JSON");
        self.text().lines().map(parse).collect()
    }

    /// Returns a metrics writer that appends to this log, as Lambda receives both from one stream.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let log = self.clone();
        Metrics::to(shared::clock::Clock::system(), "test", 512, move |lines| {
            log.0.lock().unwrap().extend_from_slice(lines);
        })
    }

    /// Returns the lines that contain metrics, after a check of their format.
    #[must_use]
    pub fn emitted(&self) -> Vec<Value> {
        let lines = self.lines().into_iter().filter(|line| line.get("_aws").is_some());
        lines.inspect(crate::emf::check).collect()
    }

    /// Returns the outcome line of the last attempt: the one that has a `result`.
    #[must_use]
    pub fn outcome(&self) -> Value {
        let mut lines = self.lines().into_iter().rev();
        lines.find(|line| line.get("result").is_some()).expect("an outcome line")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
