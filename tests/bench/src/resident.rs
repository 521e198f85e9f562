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

    /// Ends the looking. Returns the resident bytes, every 50 ms.
    pub(crate) fn finish(self) -> Result<Vec<u64>> {
        // It has ended by itself when the process has.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow!("the memory sampler panicked"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let status = "Name:\tbootstrap\nVmHWM:\t    5208 kB\nVmRSS:\t     104 kB\n";
        assert_eq!(size(status, "VmHWM"), Some(5208 * 1024));
        assert_eq!(size(status, "VmRSS"), Some(104 * 1024));
        assert_eq!(size(status, "Vm"), None);
    }

    #[test]
    fn a_process_can_be_watched() {
        let pid = std::process::id();
        let sampler = Sampler::start(pid).unwrap();
        thread::sleep(PERIOD * 3);
        let resident = sampler.finish().unwrap();
        assert!(resident.len() >= 2);
        assert!(resident.iter().all(|bytes| *bytes > 0));
    }
}
