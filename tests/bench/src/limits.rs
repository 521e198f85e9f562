//! The resources of a Lambda function by its memory size, as cgroups of version 1 or 2: the memory, and
//! a share of a CPU ("Configure Lambda function memory": 1,769 MB have one CPU).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use uuid::Uuid;

/// Memory size with one CPU, in MB.
const ONE_CPU_MB: u64 = 1_769;
/// The period of the CPU quota, in µs.
const PERIOD_US: u64 = 20_000;

/// Limits for a process. Drop them after the process has ended.
pub(crate) struct Limits {
    directories: BTreeSet<PathBuf>,
}

impl Limits {
    /// Creates the limits of a function with `memory_mb`.
    ///
    /// # Errors
    /// When the cgroups cannot be created, for example without root.
    pub(crate) fn of_lambda(memory_mb: u64) -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        // Lines are `ID:CONTROLLERS:PATH`. Version 2 has one line without controllers.
        let path_of = |controller: &str| {
            own.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers.split(',').any(|found| found == controller).then_some(path)
            })
        };
        let bytes = (memory_mb * 1024 * 1024).to_string();
        let (period, quota) = (PERIOD_US, PERIOD_US * memory_mb / ONE_CPU_MB);
        let settings = if path_of("memory").is_some() && path_of("cpu").is_some() {
            [
                ("memory", "memory.limit_in_bytes", bytes),
                ("cpu", "cpu.cfs_period_us", period.to_string()),
                ("cpu", "cpu.cfs_quota_us", quota.to_string()),
            ]
        } else {
            [
                ("", "memory.max", bytes),
                ("", "memory.swap.max", "0".to_owned()),
                ("", "cpu.max", format!("{quota} {period}")),
            ]
        };
        let name = format!("bdr-bench-{}", Uuid::new_v4());
        let mut limits = Self { directories: BTreeSet::new() };
        for (controller, file, value) in settings {
            let own = path_of(controller).unwrap_or("/").trim_start_matches('/');
            let directory = Path::new("/sys/fs/cgroup").join(controller).join(own).join(&name);
            let context = || format!("failed to set {file} in {}", directory.display());
            fs::create_dir_all(&directory).with_context(context)?;
            limits.directories.insert(directory.clone());
            fs::write(directory.join(file), value).with_context(context)?;
        }
        Ok(limits)
    }

    /// Returns a command that enters the limits and executes the program in its first argument.
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
            // The kernel refuses while a process is in the cgroup.
            let _ = fs::remove_dir(directory);
        }
    }
}
