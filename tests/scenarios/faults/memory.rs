//! A worker that the kernel kills when it exceeds its memory limit.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bdr_tests::lambda::Ending;
use bdr_tests::scenario;
use uuid::Uuid;

use super::trial::{Size, Stage};

/// Bytes that the worker may use beyond its memory at the start. A part of 5 MiB exceeds it.
const LIMIT: &str = "4194304";

/// A memory cgroup, version 1 or 2. It is removed on drop.
struct Cgroup {
    directory: PathBuf,
    /// Name of the file that counts the processes killed out of memory.
    events: &'static str,
}

impl Cgroup {
    /// Creates a cgroup within the cgroup of this process.
    fn new() -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let path_of = |controller: &str| {
            let mut lines = own.lines().map(|line| line.splitn(3, ':').skip(1));
            lines.find_map(|mut line| (line.next()? == controller).then(|| line.next())?)
        };
        let (root, path, limit, events) = match path_of("memory") {
            Some(path) => {
                ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.oom_control")
            }
            None => ("/sys/fs/cgroup", path_of("").unwrap_or("/"), "memory.max", "memory.events"),
        };
        let parent = Path::new(root).join(path.trim_start_matches('/'));
        let directory = parent.join(format!("bdr-{}", Uuid::new_v4()));
        fs::create_dir(&directory)
            .with_context(|| format!("failed to create {}", directory.display()))?;
        let cgroup = Self { directory, events };
        fs::write(cgroup.directory.join(limit), LIMIT).context("failed to set the memory limit")?;
        Ok(cgroup)
    }

    fn add(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Returns how many processes were killed out of memory.
    fn killed(&self) -> u32 {
        let events = fs::read_to_string(self.directory.join(self.events)).unwrap();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("a count of kills").parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // This fails if the test has failed and its process still runs.
        let _ = fs::remove_dir(&self.directory);
    }
}

#[test]
fn a_worker_killed_out_of_memory_loses_nothing() {
    let cgroup = match Cgroup::new() {
        Ok(cgroup) => cgroup,
        Err(error) => {
            // Not `println!`: the test harness hides its output.
            let line = format!("NOT TESTED: a worker killed out of memory, because {error:#}\n");
            io::stdout().write_all(line.as_bytes()).unwrap();
            return;
        }
    };
    scenario(async |s| {
        let stage = Stage::set(s, Size::Large).await;
        let trial = stage.trial().await;
        trial.queue.publish(trial.bdr_id).await.unwrap();
        let mut worker = trial.worker(Vec::new()).await;
        worker.source.begin = Box::new(|_, pid| cgroup.add(pid));
        let ending = worker.source.deliver(&trial.queue).await.unwrap();
        worker.source.begin = Box::new(|_, _| ());
        let Some(Ending::Died(status)) = ending else { panic!("it was not killed: {ending:?}") };
        assert_eq!((status.signal(), cgroup.killed()), (Some(9), 1));
        assert!(trial.check().await.is_err(), "it was killed too late");

        let deliveries = worker.drain(&trial.queue).await.unwrap();
        assert_eq!((deliveries.received, deliveries.died), (1, 0));
        assert_eq!((trial.check().await.unwrap(), trial.emails().await), (0, 1));
        assert_eq!(trial.open_uploads().await, 0);
    });
}
