//! How a peer measures itself: it does its job twice, and the second time counts, as a warm function's
//! does.

use std::{fs, process, time::Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// What a round took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Round {
    /// From beginning to end, in milliseconds.
    pub wall_ms: f64,
    /// On a CPU, in milliseconds.
    pub cpu_ms: f64,
    /// The most that was ever resident, both rounds considered, in KiB.
    pub peak_kib: u64,
}

impl Round {
    /// `peak_kib`, in MiB.
    #[must_use]
    pub fn peak_mib(&self) -> f64 {
        mib(self.peak_kib)
    }
}

/// KiB as MiB.
#[must_use]
pub fn mib(kib: u64) -> f64 {
    u32::try_from(kib).map_or(f64::NAN, f64::from) / 1024.0
}

/// Does the job twice and prints the second round as a line of JSON.
///
/// # Errors
/// When the job fails.
#[expect(clippy::print_stdout, reason = "the benchmark reads it")]
pub async fn retry_once<F: Future<Output = Result<()>>>(job: impl Fn() -> F) -> Result<()> {
    let pid = process::id();
    job().await?;
    let (begun, cpu) = (Instant::now(), cpu_ms(pid)?);
    job().await?;
    let round = Round {
        wall_ms: begun.elapsed().as_secs_f64() * 1e3,
        cpu_ms: cpu_ms(pid)? - cpu,
        peak_kib: peak_kib(pid)?,
    };
    println!("{}", serde_json::to_string(&round)?);
    Ok(())
}

/// Time on a CPU of a process since it began, in milliseconds, of those of its threads that live.
///
/// # Errors
/// When there is no such process.
pub fn cpu_ms(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // Nanoseconds on a CPU, and two other numbers. A thread may end while we look.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let on_cpu: f64 = stat.split(' ').next().context("no time")?.parse()?;
        sum += on_cpu / 1e6;
    }
    Ok(sum)
}

/// The most that was ever resident of a process, in KiB.
///
/// # Errors
/// When there is no such process.
pub fn peak_kib(pid: u32) -> Result<u64> {
    status_kib(pid, "VmHWM")
}

/// A size in `/proc/PID/status`, in KiB.
///
/// # Errors
/// When there is no such process, or no such size.
pub fn status_kib(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    size_kib(&status, field).with_context(|| format!("{path} has no {field}"))
}

fn size_kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::size_kib;

    #[test]
    fn what_the_kernel_says_is_read() {
        let status = "Name:\tbootstrap\nVmHWM:\t    5208 kB\nVmRSS:\t     104 kB\n";
        assert_eq!(size_kib(status, "VmHWM"), Some(5208));
        assert_eq!(size_kib(status, "VmRSS"), Some(104));
        assert_eq!(size_kib(status, "Vm"), None);
    }
}
