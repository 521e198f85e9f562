//! A worker that the kernel kills because it has used too much memory.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bdr_tests::lambda::Ending;
use bdr_tests::scenario;
use uuid::Uuid;

use super::trial::{Size, Stage};

/// What the worker may use beyond what it has at its start; an 8 MiB part alone is as much.
const LIMIT: &str = "8388608";

/// A memory cgroup, of version 1 or 2. Removed when it is dropped.
struct Cgroup {
    directory: PathBuf,
    /// The file that counts the processes killed for want of memory.
    events: &'static str,
}

impl Cgroup {
    /// Makes one within ours.
    fn new() -> Result<Self> {
        let ours = fs::read_to_string("/proc/self/cgroup")?;
        let within = |controller: &str| {
            let mut lines = ours.lines().map(|line| line.splitn(3, ':').skip(1));
            lines.find_map(|mut line| (line.next()? == controller).then(|| line.next())?)
        };
        let (root, path, limit, events) = match within("memory") {
            Some(path) => {
                ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.oom_control")
            }
            None => ("/sys/fs/cgroup", within("").unwrap_or("/"), "memory.max", "memory.events"),
        };
        let parent = Path::new(root).join(path.trim_start_matches('/'));
        let directory = parent.join(format!("bdr-{}", Uuid::new_v4()));
        fs::create_dir(&directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let cgroup = Self { directory, events };
        fs::write(cgroup.directory.join(limit), LIMIT).context("the limit cannot be set")?;
        Ok(cgroup)
    }

    fn add(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Processes killed for want of memory.
    fn killed(&self) -> u32 {
        let events = fs::read_to_string(self.directory.join(self.events)).unwrap();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("a count of kills").parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It stays when the test has failed and its process lives.
        let _ = fs::remove_dir(&self.directory);
    }
}

#[test]
fn a_worker_killed_for_want_of_memory_loses_nothing() {
    let cgroup = match Cgroup::new() {
        Ok(cgroup) => cgroup,
        Err(error) => {
            // Not `println!`, which the test runner would swallow.
            let line = format!("NOT TESTED: an end for want of memory, for {error:#}\n");
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
        let Some(Ending::Died(status)) = ending else { panic!("it did not die: {ending:?}") };
        assert_eq!((status.signal(), cgroup.killed()), (Some(9), 1));
        assert!(trial.check().await.is_err(), "it was killed too late");

        let deliveries = worker.drain(&trial.queue).await.unwrap();
        assert_eq!((deliveries.received, deliveries.died), (1, 0));
        assert_eq!((trial.check().await.unwrap(), trial.emails().await), (0, 1));
        assert_eq!(trial.left_uploads().await, 0);
    });
}
