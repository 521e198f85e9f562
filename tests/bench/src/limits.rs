//! What Lambda allows a function of some memory size, by cgroups of version 1 or 2: that much memory, and
//! its share of a CPU ("Configure Lambda function memory": at 1,769 MB it is one).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use uuid::Uuid;

/// Memory at which a function has one CPU, in MB.
const ONE_CPU_MB: u64 = 1_769;
/// Time by which CPU is shared out, in µs.
const PERIOD_US: u64 = 20_000;

/// Limits for a process. They end when they are dropped and the process has gone.
#[derive(Debug)]
pub(crate) struct Limits {
    directories: Vec<PathBuf>,
}

impl Limits {
    /// What Lambda allows at `memory_mb`.
    pub(crate) fn of_lambda(memory_mb: u64) -> Result<Self> {
        let quota_us = PERIOD_US * memory_mb / ONE_CPU_MB;
        let bytes = memory_mb * 1024 * 1024;
        let ours = fs::read_to_string("/proc/self/cgroup")?;
        let name = format!("bdr-bench-{}", Uuid::new_v4());
        let within = |controller: &str| {
            ours.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                controllers.split(',').any(|found| found == controller).then_some(path)
            })
        };
        let mut limits = Self { directories: Vec::new() };
        let mut limit = |root: &str, path: &str, settings: &[(&str, String)]| {
            let directory = Path::new(root).join(path.trim_start_matches('/')).join(&name);
            fs::create_dir(&directory)
                .with_context(|| format!("{} cannot be made", directory.display()))?;
            limits.directories.push(directory.clone());
            for (file, value) in settings {
                fs::write(directory.join(file), value)
                    .with_context(|| format!("{file} cannot be set"))?;
            }
            anyhow::Ok(())
        };
        match (within("memory"), within("cpu")) {
            (Some(memory), Some(cpu)) => {
                limit(
                    "/sys/fs/cgroup/memory",
                    memory,
                    &[("memory.limit_in_bytes", bytes.to_string())],
                )?;
                limit(
                    "/sys/fs/cgroup/cpu",
                    cpu,
                    &[
                        ("cpu.cfs_period_us", PERIOD_US.to_string()),
                        ("cpu.cfs_quota_us", quota_us.to_string()),
                    ],
                )?;
            }
            _ => limit(
                "/sys/fs/cgroup",
                within("").unwrap_or("/"),
                &[
                    ("memory.max", bytes.to_string()),
                    ("memory.swap.max", "0".to_owned()),
                    ("cpu.max", format!("{quota_us} {PERIOD_US}")),
                ],
            )?,
        }
        Ok(limits)
    }

    /// A command that puts itself under the limits and becomes the program that is its first argument.
    pub(crate) fn launcher(&self) -> Vec<String> {
        let enter = self
            .directories
            .iter()
            .map(|directory| format!("echo $$ > '{}'; ", directory.join("cgroup.procs").display()));
        let script = format!("set -e; {}exec \"$0\" \"$@\"", enter.collect::<String>());
        ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        for directory in &self.directories {
            // It stays while its process lives.
            let _ = fs::remove_dir(directory);
        }
    }
}
