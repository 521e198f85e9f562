//! `cost`: GB-seconds of a request by the memory size of the function, as Lambda bills them, cold (with
//! the start of the process) and warm. Where Node is installed, the usual recipe on Node runs under the
//! same limits.

use anyhow::Result;
use bdr_bench::round::Round;

use crate::{
    bench::Bench,
    options::Cost,
    peers::Peer,
    table::{Column, median, number, table},
    workload::{Preset, Seeded, Workload},
};

/// The rounds of one workload at one memory size.
struct Costs {
    preset: Preset,
    memory_mb: u64,
    cold: Vec<Round>,
    warm: Vec<Round>,
    /// Empty without Node, and when Node ran out of memory.
    node: Vec<Round>,
}

impl Bench {
    /// Measures every workload with every memory size and prints the costs.
    pub(crate) async fn cost(&self, options: &Cost) -> Result<()> {
        let has_node = !options.alone && self.peers.install_node().await?;
        let mut all = Vec::new();
        for &preset in &options.workloads {
            let seeded = self.seed(Workload::from(preset)).await?;
            for &memory_mb in &options.sizes_mb {
                let (cold, warm, node) = (Vec::new(), Vec::new(), Vec::new());
                let mut costs = Costs { preset, memory_mb, cold, warm, node };
                for _ in 0..options.rounds {
                    self.cost_once(&seeded, has_node, &mut costs).await?;
                }
                all.push(costs);
            }
        }
        let columns: [Column<'_, Costs>; 10] = [
            ("workload", &|row| format!("{:?}", row.preset)),
            ("memory MB", &|row| row.memory_mb.to_string()),
            ("cold s", &|row| number(median(&row.cold, |round| round.wall_s), 2)),
            ("warm s", &|row| number(median(&row.warm, |round| round.wall_s), 2)),
            ("cold GB-s", &|row| number(row.gb_seconds(&row.cold), 3)),
            ("warm GB-s", &|row| number(row.gb_seconds(&row.warm), 3)),
            ("warm CPU s", &|row| number(median(&row.warm, |round| round.cpu_s), 2)),
            ("peak RSS MiB", &|row| number(median(&row.warm, |round| round.peak_mib), 0)),
            ("Node, warm s", &|row| number(median(&row.node, |round| round.wall_s), 2)),
            ("Node, warm GB-s", &|row| number(row.gb_seconds(&row.node), 3)),
        ];
        println!("{}", table(&all, &columns));
        Ok(())
    }

    async fn cost_once(&self, seeded: &Seeded, has_node: bool, costs: &mut Costs) -> Result<()> {
        let (preset, memory_mb) = (costs.preset, costs.memory_mb);
        let (_limits, mut function) = self.start_function(Some(memory_mb)).await?;
        let start_s = function.polled().await?.as_secs_f64();
        let cold = self.run(&mut function, seeded).await?.round;
        let warm = self.run(&mut function, seeded).await?.round;
        function.stop().await?;
        eprintln!("  {preset:?} {memory_mb} MB: {warm:?}");
        costs.cold.push(Round { wall_s: start_s + cold.wall_s, ..cold });
        costs.warm.push(warm);
        if has_node {
            match self.run_peer(Peer::Archiver, seeded, Some(memory_mb)).await {
                Ok(round) => costs.node.push(round),
                Err(error) => eprintln!("  {preset:?} {memory_mb} MB: {error:#}"),
            }
        }
        Ok(())
    }
}

impl Costs {
    fn gb_seconds(&self, rounds: &[Round]) -> f64 {
        let gb = u32::try_from(self.memory_mb).map_or(f64::NAN, f64::from) / 1024.0;
        median(rounds, |round| round.wall_s) * gb
    }
}
