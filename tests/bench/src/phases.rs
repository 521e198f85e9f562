//! The time of an attempt by phase, from its outcome line.

use anyhow::{Context as _, Result};
use serde_json::Value;
use uuid::Uuid;

/// The phases of an attempt, in their order. The outcome line states the time of each as `<name>_ms`.
pub(crate) const NAMES: [&str; 7] =
    ["claim", "load", "fetch", "write", "upload", "finish", "notify"];

/// The milliseconds of an attempt in each of [`NAMES`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Phases(pub(crate) [u32; NAMES.len()]);

impl Phases {
    /// Returns the phases of the last attempt at `bdr_id` in the function's log.
    ///
    /// # Errors
    /// When the log has no such outcome line, or the line lacks a phase.
    pub(crate) fn of(log: &str, bdr_id: Uuid) -> Result<Self> {
        let bdr_id = bdr_id.to_string();
        let outcome = |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["bdr_id"] == *bdr_id && line.get("result").is_some()).then_some(line)
        };
        let outcome = log.lines().rev().find_map(outcome).context("the log has no outcome line")?;
        let mut phases = Self::default();
        for (spent, name) in phases.0.iter_mut().zip(NAMES) {
            let ms = outcome[format!("{name}_ms")].as_u64();
            let ms = ms.with_context(|| format!("the outcome line has no {name}_ms"))?;
            *spent = u32::try_from(ms)?;
        }
        Ok(phases)
    }

    /// Returns the seconds after the row has become `ready`.
    pub(crate) fn after_ready_s(&self) -> f64 {
        let [.., notify] = self.0;
        f64::from(notify) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::Phases;

    #[test]
    fn the_last_outcome_line_of_the_request_counts() {
        let line = |bdr_id: Uuid, claim: u32| {
            format!(
                r#"{{"bdr_id":"{bdr_id}","result":"ready","claim_ms":{claim},"load_ms":2,"fetch_ms":3,"write_ms":4,"upload_ms":5,"finish_ms":6,"notify_ms":7}}"#
            )
        };
        let (wanted, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let started = format!(r#"{{"bdr_id":"{wanted}","message":"processing started"}}"#);
        let log = [line(wanted, 0), line(wanted, 1), started, line(other, 9), "no JSON".into()];
        let phases = Phases::of(&log.join("\n"), wanted).unwrap();
        assert_eq!(phases.0, [1, 2, 3, 4, 5, 6, 7]);
        assert!((phases.after_ready_s() - 0.007).abs() < 1e-9);
        assert!(Phases::of(&log[3], wanted).is_err());
    }
}
