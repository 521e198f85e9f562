//! What a request costs, by the function's memory size: GB-seconds, as Lambda bills them, cold (with the
//! time to start) and warm.

use anyhow::{Context as _, Result};

use crate::{
    figures::{Spread, cells, markdown},
    measurement::{Bench, Report},
    options::Cost,
    workload::Workload,
};

impl Bench<'_> {
    /// Measures every size with every workload.
    pub(crate) async fn cost(&self, options: &Cost) -> Result<Report> {
        let mut rows = vec![cells([
            "workload",
            "memory MB",
            "cold s",
            "warm s",
            "cold GB-s",
            "warm GB-s",
            "warm CPU s",
            "peak RSS MiB",
        ])];
        for &pile in &options.workloads {
            let workload = Workload::of_pile(pile);
            let seeded = self.seed(workload).await?;
            for &memory_mb in &options.sizes_mb {
                let (mut cold, mut warm) = (Vec::new(), Vec::new());
                let (mut cpu, mut peak) = (Vec::new(), Vec::new());
                for _ in 0..options.rounds {
                    let mut process = self.start_function(Some(memory_mb)).await?;
                    let started = process.function.polled().await?;
                    let first = self.run(&mut process, workload, &seeded).await?;
                    let second = self.run(&mut process, workload, &seeded).await?;
                    process.function.stop().await.context("the function cannot be ended")?;
                    cold.push((started + first.duration()).as_secs_f64());
                    warm.push(second.duration().as_secs_f64());
                    cpu.push(second.round.cpu_ms / 1e3);
                    peak.push(second.round.peak_mib());
                    eprintln!("  {pile:?} {memory_mb} MB: {:?}", second.round);
                }
                let median = |figures: Vec<f64>| {
                    Spread::of(figures).map_or(f64::NAN, |spread| spread.median)
                };
                let gb = u32::try_from(memory_mb).map_or(f64::NAN, f64::from) / 1024.0;
                let (cold, warm) = (median(cold), median(warm));
                rows.push(vec![
                    format!("{pile:?}"),
                    memory_mb.to_string(),
                    format!("{cold:.2}"),
                    format!("{warm:.2}"),
                    format!("{:.3}", cold * gb),
                    format!("{:.3}", warm * gb),
                    format!("{:.2}", median(cpu)),
                    format!("{:.0}", median(peak)),
                ]);
            }
        }
        Ok(Report { text: markdown(&rows), wrong: None })
    }
}
