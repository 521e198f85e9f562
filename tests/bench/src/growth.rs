//! Does memory grow with the ZIP?

use anyhow::Result;

use crate::{
    figures::{cells, markdown},
    measurement::{Bench, Measured, Report},
    options::Memory,
    plot::plot,
    workload::Workload,
};

pub(crate) const MIB: u64 = 1024 * 1024;

/// The measurements of a run.
#[derive(Debug, Default)]
struct Growth {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    workload: Workload,
    measured: Measured,
}

impl Bench<'_> {
    /// Puts larger and larger requests through, each in a fresh process.
    pub(crate) async fn memory(&self, options: &Memory) -> Result<Report> {
        let inspected = options.inspected();
        self.inspect(inspected, &self.seed(inspected).await?).await?;
        let mut growth = Growth::default();
        for workload in options.workloads() {
            let seeded = self.seed(workload).await?;
            let mut process = self.start_function(self.lambda_mb).await?;
            let measured = self.run(&mut process, workload, &seeded).await?;
            process.function.stop().await?;
            eprintln!("  ✓ {workload} in {:.1} s", measured.round.wall_ms / 1e3);
            growth.rows.push(Row { workload, measured });
        }
        let mut text = vec![growth.table()];
        text.extend(growth.plot());
        let verdict = growth.verdict(self.lambda_mb.unwrap_or(self.deployed.memory_mb));
        let wrong = match verdict {
            Ok(flat) => {
                text.push(format!("Flat: {flat}."));
                None
            }
            Err(grows) => Some(format!("memory is not flat: {grows}")),
        };
        Ok(Report { text: text.join("\n\n"), wrong })
    }
}

impl Growth {
    /// A row for each workload.
    fn table(&self) -> String {
        let mut table = vec![cells([
            "ZIP",
            "artworks",
            "seconds",
            "CPU seconds",
            "peak RSS MiB",
            "requests to S3",
            "connections",
        ])];
        for Row { workload, measured } in &self.rows {
            let requests = measured.traffic.requests.iter();
            let requests = requests.map(|(kind, count)| format!("{count} {kind}"));
            table.push(vec![
                workload.to_string(),
                workload.artworks.to_string(),
                format!("{:.1}", measured.round.wall_ms / 1e3),
                format!("{:.1}", measured.round.cpu_ms / 1e3),
                mib(measured.round.peak_kib * 1024),
                requests.collect::<Vec<_>>().join(", "),
                measured.traffic.connections.to_string(),
            ]);
        }
        markdown(&table)
    }

    /// The memory of the last workload over time.
    fn plot(&self) -> Option<String> {
        let Row { workload, measured } = self.rows.last()?;
        let plot = plot(&measured.resident, measured.duration());
        Some(format!("Resident memory while {workload} went through:\n\n{plot}"))
    }

    /// Whether memory stayed flat from the last workload but one to the last, in words; `Err` when
    /// not.
    ///
    /// Not from the first: a small request is over before everything is in use that is held at once,
    /// such as the buffers of all connections, and so its peak says less about the next one's.
    fn verdict(&self, memory_mb: u64) -> Result<String, String> {
        let (last, before) = match &*self.rows {
            [.., before, last] => (last, before),
            [only] => (only, only),
            [] => return Err("nothing was measured".into()),
        };
        let (peak, limit) = (last.peak(), limit(before.peak()).min(memory_mb * MIB));
        let text = format!(
            "a peak of {} MiB with {}, after {} MiB with {} (limit {}; the function has {memory_mb})",
            mib(peak),
            last.workload,
            mib(before.peak()),
            before.workload,
            mib(limit),
        );
        if peak <= limit { Ok(text) } else { Err(text) }
    }
}

impl Row {
    fn peak(&self) -> u64 {
        self.measured.round.peak_kib * 1024
    }
}

/// The highest peak that still counts as flat beside `before`: what an allocator happens to keep
/// differs a little from run to run.
fn limit(before: u64) -> u64 {
    before + before / 10 + 4 * MIB
}

fn mib(bytes: u64) -> String {
    let tenths = bytes * 10 / MIB;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use bdr_bench_jobs::rounds::Round;

    use super::*;
    use crate::s3::Traffic;

    fn growth(peaks: &[u64]) -> Growth {
        let row = |&peak: &u64| Row {
            workload: Workload::of_size(2_000_000_000, 5_000_000),
            measured: Measured {
                round: Round { wall_ms: 1_260.0, cpu_ms: 540.0, peak_kib: peak / 1024 },
                traffic: Traffic::default(),
                resident: vec![peak],
            },
        };
        Growth { rows: peaks.iter().map(row).collect() }
    }

    #[test]
    fn a_tenth_and_4_mib_more_is_still_flat() {
        assert!(growth(&[20 * MIB, 40 * MIB, 48 * MIB]).verdict(512).is_ok());
        assert!(growth(&[20 * MIB, 40 * MIB, 48 * MIB + 1024]).verdict(512).is_err());
        assert!(growth(&[40 * MIB, 48 * MIB]).verdict(47).is_err());
        assert!(growth(&[40 * MIB]).verdict(512).is_ok());
        assert!(growth(&[]).verdict(512).is_err());
    }
}
