//! How much memory another process has in use, over time.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use bdr_bench_jobs::rounds::status_kib;

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
            while let Ok(kib) = status_kib(pid, "VmRSS") {
                samples.push(kib * 1024);
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

#[cfg(test)]
mod tests {
    use super::*;

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
