//! How much memory another process has in use, over time.

use std::{
    fs,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(50);

/// Looks at a process again and again, from a thread of its own.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Vec<u64>>,
}

/// What a process has used.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// Resident bytes, every 50 ms.
    pub(crate) resident: Vec<u64>,
    /// The most that ever were resident, by the kernel's own account.
    pub(crate) peak: u64,
    /// Time on a CPU since its start.
    pub(crate) cpu: Duration,
}

impl Sampler {
    /// Begins to look at process `pid`.
    pub(crate) fn start(pid: u32) -> Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            let (mut samples, mut next) = (Vec::new(), Instant::now());
            while let Ok(bytes) = status(pid, "VmRSS") {
                samples.push(bytes);
                next += PERIOD;
                let pause = next.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            samples
        };
        let thread = thread::Builder::new().name("sampler".into()).spawn(look);
        Ok(Self { stop, thread: thread.context("the memory sampler cannot be started")? })
    }

    /// Ends the looking, while the process `pid` is still there.
    pub(crate) fn finish(self, pid: u32) -> Result<Usage> {
        let (peak, cpu) = (status(pid, "VmHWM")?, cpu(pid)?);
        // It has ended by itself when the process has.
        let _ = self.stop.send(());
        let resident = self.thread.join().map_err(|_| anyhow!("the memory sampler panicked"))?;
        Ok(Usage { resident, peak, cpu })
    }
}

/// A size in `/proc/PID/status`, in bytes.
fn status(pid: u32, field: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    size(&status, field).with_context(|| format!("{path} has no {field}"))
}

fn size(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// User and system time in `/proc/PID/stat`, of all threads.
fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    ticks(&stat).with_context(|| format!("{path} has no CPU times"))
}

fn ticks(stat: &str) -> Option<Duration> {
    /// Linux counts hundredths of a second towards programs, on every machine Rust runs on.
    const TICK: Duration = Duration::from_millis(10);
    // Behind the name, which may hold anything: state is field 3, utime 14, stime 15 (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(14 - 3);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * (user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let status = "Name:\tbootstrap\nVmHWM:\t    5208 kB\nVmRSS:\t     104 kB\n";
        assert_eq!(size(status, "VmHWM"), Some(5208 * 1024));
        assert_eq!(size(status, "VmRSS"), Some(104 * 1024));
        assert_eq!(size(status, "Vm"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 99 0 0 0 123 45 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(Duration::from_millis(1680)));
    }

    #[test]
    fn a_process_can_be_watched() {
        let pid = std::process::id();
        let sampler = Sampler::start(pid).unwrap();
        thread::sleep(PERIOD * 3);
        let usage = sampler.finish(pid).unwrap();
        assert!(usage.resident.len() >= 2);
        assert!(usage.resident.iter().all(|bytes| (1..=usage.peak).contains(bytes)));
    }
}
