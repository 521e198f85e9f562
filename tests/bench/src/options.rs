//! The command line.

use std::{collections::BTreeSet, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::workload::Workload;

/// Puts piles of artworks through the release binary of process-bdr-job.
#[derive(Debug, Parser)]
#[command(name = "bdr-bench")]
pub(crate) struct Options {
    /// How long S3 takes to the first byte of each answer, in ms.
    #[arg(long, global = true, default_value_t = 30)]
    pub(crate) latency_ms: u64,
    /// Put TLS between the function and S3.
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// Give the function what Lambda gives it at this memory size in MB: that much memory, and 1/1769
    /// of a CPU for each MB.
    #[arg(long, global = true, value_parser = clap::value_parser!(u64).range(128..=10_240))]
    pub(crate) lambda_mb: Option<u64>,
    /// Measure this build of the function, and not the one that was deployed.
    #[arg(long, global = true)]
    pub(crate) binary: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) what: What,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Time, CPU and memory beside the floor and a peer.
    Compare(Compare),
    /// Does memory grow with the ZIP?
    Memory(Memory),
    /// From the start of the process to its first poll.
    Start(Start),
    /// GB-seconds by memory size.
    Cost(Cost),
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Which workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Pile::W1, Pile::W2, Pile::W3, Pile::Web])]
    pub(crate) workloads: Vec<Pile>,
    /// Times that everything is measured, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) rounds: u64,
    /// Measure the function alone.
    #[arg(long)]
    pub(crate) alone: bool,
}

/// A workload of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pile {
    /// 128 small files, 2.6 MB.
    W1,
    /// 5,000 small files, 49 MB.
    W2,
    /// 400 files of 5 MB, 2 GB.
    W3,
    /// 128 small files from a web server.
    Web,
}

#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Sizes of the requests in MB (10^6 bytes). The memory of the largest is judged by that of the
    /// one before, which should have some hundred artworks.
    #[arg(long, value_delimiter = ',', default_values_t = [250, 500, 1_000, 2_000],
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    sizes_mb: Vec<u64>,
    /// Size of every artwork in bytes.
    #[arg(long, default_value_t = 5_000_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    artwork_bytes: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Processes that are started.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) rounds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// Memory sizes, in MB.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 256, 512, 1_024, 1_769],
          value_parser = clap::value_parser!(u64).range(128..=10_240))]
    pub(crate) sizes_mb: Vec<u64>,
    /// Which workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Pile::W1, Pile::W2, Pile::W3])]
    pub(crate) workloads: Vec<Pile>,
    /// Times that each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) rounds: u64,
    /// Measure the function alone.
    #[arg(long)]
    pub(crate) alone: bool,
}

impl Memory {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_the_largest_is_2_gb_of_5_mb_artworks() {
        let What::Memory(memory) = Options::parse_from(["bdr-bench", "memory"]).what else {
            panic!("memory is another subcommand");
        };
        let artworks: Vec<_> = memory.workloads().map(|workload| workload.artworks).collect();
        assert_eq!(artworks, [50, 100, 200, 400]);
    }
}
