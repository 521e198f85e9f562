//! The resident memory of a process over time.

use std::time::Duration;

use bdr_bench::round::status_kib;
use tokio::time::interval;

/// Time between two samples.
const PERIOD: Duration = Duration::from_millis(50);

/// Waits for `work`. Returns its output, and the resident memory of process `pid` meanwhile, in KiB,
/// every 50 ms.
pub(crate) async fn sample<T>(pid: u32, work: impl Future<Output = T>) -> (T, Vec<u64>) {
    let (mut samples_kib, mut ticks) = (Vec::new(), interval(PERIOD));
    tokio::pin!(work);
    loop {
        tokio::select! {
            output = &mut work => return (output, samples_kib),
            // A process that has ended has no memory.
            _ = ticks.tick() => samples_kib.extend(status_kib(pid, "VmRSS")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_running_process_is_sampled() {
        let work = tokio::time::sleep(PERIOD * 3);
        let ((), resident) = sample(std::process::id(), work).await;
        assert!(resident.len() >= 2);
        assert!(resident.iter().all(|kib| *kib > 0));
    }
}
