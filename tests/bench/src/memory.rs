//! `memory`: whether memory grows with the ZIP.

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::{Bench, Measured},
    options::Memory,
    plot::plot,
    table::{Column, number, table},
};

impl Bench {
    /// Measures larger and larger requests, each in a new process. Prints the measurements.
    ///
    /// # Errors
    /// When memory grows with the ZIP.
    pub(crate) async fn memory(&self, options: &Memory) -> Result<()> {
        self.inspect(&self.seed(options.inspected()).await?).await?;
        let mut all = Vec::new();
        for workload in options.workloads() {
            let seeded = self.seed(workload).await?;
            let (_limits, mut function) = self.start_function(self.lambda_mb).await?;
            let measured = self.run(&mut function, &seeded).await?;
            function.stop().await?;
            eprintln!("  ✓ {workload} in {:.1} s", measured.round.wall_s);
            all.push(measured);
        }
        let columns: [Column<'_, Measured>; 7] = [
            ("ZIP", &|row| row.workload.to_string()),
            ("artworks", &|row| row.workload.artworks.to_string()),
            ("seconds", &|row| number(row.round.wall_s, 1)),
            ("CPU seconds", &|row| number(row.round.cpu_s, 1)),
            ("peak RSS MiB", &|row| number(row.round.peak_mib, 1)),
            ("requests to S3", &|row| row.traffic.requests_text()),
            ("connections", &|row| row.traffic.connections.to_string()),
        ];
        println!("{}", table(&all, &columns));
        if let Some(Measured { workload, round, resident_kib, .. }) = all.last() {
            let plot = plot(resident_kib, round.wall_s);
            println!("\nResident memory during the request for {workload}:\n\n{plot}");
        }
        let memory_mb = self.lambda_mb.unwrap_or(self.deployed.memory_mb);
        println!("\nMemory is flat: {}.", check_flat(&all, memory_mb)?);
        Ok(())
    }
}

/// Compares the peak of the last workload with that of the one before. Returns the comparison in words.
///
/// The first workload does not count: a small request ends before all buffers are in use, for example
/// those of all connections, so its peak does not predict the peak of the next one.
///
/// # Errors
/// When memory is not flat.
fn check_flat(all: &[Measured], memory_mb: u64) -> Result<String> {
    let last = all.last().context("there are no measurements")?;
    let before = all.iter().rev().nth(1).unwrap_or(last);
    let (peak, peak_before) = (last.round.peak_mib, before.round.peak_mib);
    // What the allocator keeps differs from run to run, so a tenth and 4 MiB are allowed.
    let memory = u32::try_from(memory_mb).map_or(f64::NAN, f64::from);
    let limit = (peak_before * 1.1 + 4.0).min(memory);
    let text = format!(
        "a peak of {peak:.1} MiB with {}, after {peak_before:.1} MiB with {} (limit {limit:.1} MiB, the \
         function has {memory_mb})",
        last.workload, before.workload,
    );
    ensure!(peak <= limit, "memory grows with the ZIP: {text}");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use bdr_bench::{round::Round, traffic::Traffic};

    use super::*;
    use crate::{phases::Phases, workload::Workload};

    fn growth(peaks_mib: &[f64]) -> Vec<Measured> {
        let measured = |&peak_mib: &f64| Measured {
            workload: Workload::of_size(2_000_000_000, 5_000_000),
            round: Round { wall_s: 1.26, cpu_s: 0.54, peak_mib },
            phases: Phases::default(),
            traffic: Traffic::default(),
            resident_kib: Vec::new(),
            key: String::new(),
        };
        peaks_mib.iter().map(measured).collect()
    }

    #[test]
    fn a_tenth_and_4_mib_more_is_still_flat() {
        const KIB: f64 = 1.0 / 1024.0;
        assert!(check_flat(&growth(&[20.0, 40.0, 48.0]), 512).is_ok());
        assert!(check_flat(&growth(&[20.0, 40.0, 48.0 + KIB]), 512).is_err());
        assert!(check_flat(&growth(&[40.0, 48.0]), 47).is_err());
        assert!(check_flat(&growth(&[40.0]), 512).is_ok());
        assert!(check_flat(&growth(&[]), 512).is_err());
    }
}
