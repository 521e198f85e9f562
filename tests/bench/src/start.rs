//! From the start of the process to its first poll for an invocation.

use anyhow::Result;

use crate::{
    figures::{Spread, cells, markdown},
    measurement::{Bench, Report},
    options::Start,
};
use bdr_bench_jobs::rounds::{cpu_ms, mib, peak_kib};

impl Bench<'_> {
    /// Starts process after process.
    pub(crate) async fn start(&self, options: &Start) -> Result<Report> {
        let (mut wall, mut cpu, mut peak) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let mut process = self.start_function(self.lambda_mb).await?;
            let polled = process.function.polled().await?;
            let pid = process.function.pid();
            wall.push(polled.as_secs_f64() * 1e3);
            cpu.push(cpu_ms(pid)?);
            peak.push(mib(peak_kib(pid)?));
            process.function.stop().await?;
        }
        let text = |figures: Vec<f64>| Spread::of(figures).map_or_else(String::new, |s| s.text(1));
        let size = std::fs::metadata(&self.deployed.bootstrap)?.len();
        let rows = [
            cells(["exec to first poll, ms", "CPU ms", "RSS MiB", "binary, bytes"]),
            vec![text(wall), text(cpu), text(peak), size.to_string()],
        ];
        Ok(Report { text: markdown(&rows), wrong: None })
    }
}
