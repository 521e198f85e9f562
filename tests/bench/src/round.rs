//! The measurement of a process.

use std::{
    fs, process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The time, CPU and memory of one execution of a job.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Round {
    /// Time from start to end, in seconds.
    pub wall_s: f64,
    /// CPU time, in seconds.
    pub cpu_s: f64,
    /// The highest resident memory of the process so far, in MiB.
    pub peak_mib: f64,
}

impl Round {
    /// Measures process `pid` at the end of a job that took `wall` and started after `cpu_before_s`
    /// of CPU time.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn finish(pid: u32, wall: Duration, cpu_before_s: f64) -> Result<Self> {
        let peak_mib = f64::from(u32::try_from(status_kib(pid, "VmHWM")?)?) / 1024.0;
        Ok(Self { wall_s: wall.as_secs_f64(), cpu_s: cpu_s(pid)? - cpu_before_s, peak_mib })
    }
}

/// Runs a peer's job twice and prints the second round as a line of JSON. The first run warms the
/// process up, as the first invocation does with a function.
///
/// # Errors
/// When the job fails.
#[expect(clippy::print_stdout, reason = "the benchmark reads it")]
pub async fn measure_warm<F: Future<Output = Result<()>>>(job: impl Fn() -> F) -> Result<()> {
    let pid = process::id();
    job().await?;
    let (start, cpu_before_s) = (Instant::now(), cpu_s(pid)?);
    job().await?;
    let round = Round::finish(pid, start.elapsed(), cpu_before_s)?;
    println!("{}", serde_json::to_string(&round)?);
    Ok(())
}

/// Returns the CPU time of the living threads of process `pid`, in seconds.
///
/// # Errors
/// When the process has ended.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread can end after it was listed. The first field is its CPU time in ns.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let on_cpu: f64 = stat.split(' ').next().context("schedstat is empty")?.parse()?;
        sum += on_cpu / 1e9;
    }
    Ok(sum)
}

/// Returns a size from `/proc/PID/status`, in KiB.
///
/// # Errors
/// When the process has ended, or the kernel does not report the field.
pub fn status_kib(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    size_kib(&status, field).with_context(|| format!("{path} has no field {field}"))
}

fn size_kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::size_kib;

    #[test]
    fn a_field_of_proc_status_is_parsed() {
        let status = "Name:\tbootstrap\nVmHWM:\t    5208 kB\nVmRSS:\t     104 kB\n";
        assert_eq!(size_kib(status, "VmHWM"), Some(5208));
        assert_eq!(size_kib(status, "VmRSS"), Some(104));
        assert_eq!(size_kib(status, "Vm"), None);
    }
}
