//! The command line.

use std::{collections::BTreeSet, path::PathBuf};

use clap::{Args, Parser, Subcommand, value_parser};

use crate::workload::{Preset, Workload};

/// Measure the release binary of process-bdr-job under load.
#[derive(Debug, Parser)]
#[command(name = "bdr-bench")]
pub(crate) struct Options {
    /// Delay the first byte of every S3 response (in ms).
    #[arg(long, global = true, default_value_t = 30)]
    pub(crate) latency_ms: u64,
    /// Limit the network of the S3 server, in each direction (in MB/s; AWS gives a function 75).
    #[arg(long, global = true)]
    pub(crate) network_mb_s: Option<u32>,
    /// Limit the body of each GET (in MB/s).
    #[arg(long, global = true)]
    pub(crate) get_mb_s: Option<u32>,
    /// Use TLS between the function and S3.
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// Limit the function as Lambda does at this memory size (in MB): to that memory, and to 1/1769 of
    /// a CPU for each MB.
    #[arg(long, global = true, value_parser = value_parser!(u64).range(128..=10_240))]
    pub(crate) lambda_mb: Option<u64>,
    /// Measure this build of the function instead of the deployed one.
    #[arg(long, global = true)]
    pub(crate) binary: Option<PathBuf>,
    /// Set a variable of the function (as `NAME=VALUE`, any number of times).
    #[arg(long = "variable", global = true, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    #[command(subcommand)]
    pub(crate) measurement: Measurement,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Measurement {
    /// Compare time, CPU and memory with the floor and s-zip.
    Compare(Compare),
    /// Check that memory does not grow with the ZIP.
    Memory(Memory),
    /// Measure the memory for descriptions and comments.
    Texts(Texts),
    /// Measure the time from the start of the process to its first poll.
    Start(Start),
    /// Measure GB-seconds by memory size.
    Cost(Cost),
    /// Measure what the gallery and the checksums cost.
    Gallery(Gallery),
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Measure these workloads.
    #[arg(long, value_enum, value_delimiter = ',',
          default_values_t = [Preset::W1, Preset::W2, Preset::W3, Preset::Web])]
    pub(crate) workloads: Vec<Preset>,
    /// Measure every program this many times, in turn.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=100))]
    pub(crate) rounds: u64,
    /// Measure the function without the other programs.
    #[arg(long)]
    pub(crate) alone: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Request ZIPs of these sizes (in MB, 10^6 bytes). The memory of the largest is compared with that
    /// of the one before, which should have at least 100 artworks.
    #[arg(long, value_delimiter = ',', default_values_t = [250, 500, 1_000, 2_000],
          value_parser = value_parser!(u64).range(1..=100_000))]
    sizes_mb: Vec<u64>,
    /// Make every artwork this large (in bytes).
    #[arg(long, default_value_t = 5_000_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    artwork_bytes: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Texts {
    /// Request this many artworks, without and with descriptions.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u64).range(1..=1_000_000))]
    pub(crate) artworks: u64,
    /// Make every description this long (in bytes).
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) description_bytes: u32,
    /// Put this many comments on 100 artworks.
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..=100_000_000))]
    pub(crate) comments: u32,
    /// Make every comment this long (in bytes).
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) comment_bytes: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Start this many processes.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u64).range(1..=1_000))]
    pub(crate) rounds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// Measure these memory sizes (in MB).
    #[arg(long, value_delimiter = ',', default_values_t = [128, 256, 512, 1_024, 1_769],
          value_parser = value_parser!(u64).range(128..=10_240))]
    pub(crate) sizes_mb: Vec<u64>,
    /// Measure these workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Preset::W1, Preset::W2, Preset::W3])]
    pub(crate) workloads: Vec<Preset>,
    /// Measure every combination this many times.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u64).range(1..=100))]
    pub(crate) rounds: u64,
    /// Measure the function without Node.
    #[arg(long)]
    pub(crate) alone: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Gallery {
    /// Measure these workloads.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Preset::W1, Preset::W2, Preset::W3])]
    pub(crate) workloads: Vec<Preset>,
    /// Measure the function with and without the gallery this many times, in turn.
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u64).range(1..=100))]
    pub(crate) rounds: u64,
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected `NAME=VALUE`")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Memory {
    /// Returns the workloads, the smallest first.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = Workload> {
        let sizes: BTreeSet<_> = self.sizes_mb.iter().copied().collect();
        sizes.into_iter().map(|mb| Workload::of_size(mb * 1_000_000, self.artwork_bytes))
    }

    /// Returns a small workload of the same artworks, to compare its ZIP byte for byte.
    pub(crate) fn inspected(&self) -> Workload {
        Workload::of_size(5 * self.artwork_bytes, self.artwork_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_default_is_2_gb_of_5_mb_artworks() {
        let options = Options::parse_from(["bdr-bench", "memory"]);
        let Measurement::Memory(memory) = options.measurement else {
            panic!("memory is another subcommand");
        };
        let artworks: Vec<_> = memory.workloads().map(|workload| workload.artworks).collect();
        assert_eq!(artworks, [50, 100, 200, 400]);
    }
}
