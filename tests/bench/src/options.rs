//! The command line.

use std::{collections::BTreeSet, time::Duration};

use clap::Parser;

use crate::workload::Workload;

/// Puts growing piles of artworks through the release binary of process-bdr-job, and fails when its
/// peak memory grows with them.
#[derive(Debug, Parser)]
#[command(name = "bdr-bench")]
pub(crate) struct Options {
    /// Sizes of the requests in MB (10^6 bytes). The memory of the largest is judged by that of the
    /// one before, which should have some hundred artworks.
    #[arg(long, value_delimiter = ',', default_values_t = [250, 500, 1_000, 2_000],
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    sizes_mb: Vec<u64>,
    /// Size of every artwork in bytes.
    #[arg(long, default_value_t = 5_000_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    artwork_bytes: u64,
    /// How long S3 takes to the first byte of each answer, in ms.
    #[arg(long, default_value_t = 30)]
    latency_ms: u64,
    /// The function's memory in MiB, instead of the template's.
    #[arg(long, value_parser = clap::value_parser!(u64).range(128..=10_240))]
    pub(crate) memory_mb: Option<u64>,
}

impl Options {
    /// What is to be measured, smallest first.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = Workload> {
        let sizes: BTreeSet<_> = self.sizes_mb.iter().copied().collect();
        sizes.into_iter().map(|mb| Workload::of_size(mb * 1_000_000, self.artwork_bytes))
    }

    /// A small workload of the same artworks, for a look into its ZIP.
    pub(crate) fn inspected(&self) -> Workload {
        const ARTWORKS: u64 = 5;
        Workload::of_size(ARTWORKS * self.artwork_bytes, self.artwork_bytes)
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_the_largest_is_2_gb_of_5_mb_artworks() {
        let options = Options::parse_from(["bdr-bench"]);
        let artworks: Vec<_> = options.workloads().map(|workload| workload.artworks).collect();
        assert_eq!(artworks, [50, 100, 200, 400]);
    }
}
