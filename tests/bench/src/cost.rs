//! What a request costs, by the function's memory size: GB-seconds, as Lambda bills them, cold (with the
//! time to start) and warm; beside it the usual recipe on Node under the same limits, where there is Node.

use anyhow::{Context as _, Result};
use bdr_bench_jobs::rounds::Round;

use crate::{
    figures::{Spread, cells, markdown},
    limits::Limits,
    measurement::{Bench, Report},
    options::{Cost, Pile},
    peers::Peer,
    workload::{Seeded, Workload},
};

/// One workload at one memory size.
struct Cell<'a> {
    pile: Pile,
    seeded: &'a Seeded,
    memory_mb: u64,
}

/// What was measured of it, round by round.
#[derive(Default)]
struct Costs {
    cold_s: Vec<f64>,
    warm: Vec<Round>,
    node: Vec<Round>,
}

impl Bench<'_> {
    /// Measures every size with every workload.
    pub(crate) async fn cost(&self, options: &Cost) -> Result<Report> {
        let has_node = !options.alone && self.peers.install_node().await?;
        let mut rows = vec![cells([
            "workload",
            "memory MB",
            "cold s",
            "warm s",
            "cold GB-s",
            "warm GB-s",
            "warm CPU s",
            "peak RSS MiB",
            "Node, warm s",
            "Node, warm GB-s",
        ])];
        for &pile in &options.workloads {
            let seeded = self.seed(Workload::of_pile(pile)).await?;
            for &memory_mb in &options.sizes_mb {
                let cell = Cell { pile, seeded: &seeded, memory_mb };
                let mut costs = Costs::default();
                for _ in 0..options.rounds {
                    self.cost_once(&cell, has_node, &mut costs).await?;
                }
                rows.push(cell.row(costs));
            }
        }
        Ok(Report { text: markdown(&rows), wrong: None })
    }

    async fn cost_once(&self, cell: &Cell<'_>, has_node: bool, costs: &mut Costs) -> Result<()> {
        let workload = Workload::of_pile(cell.pile);
        let mut process = self.start_function(Some(cell.memory_mb)).await?;
        let started = process.function.polled().await?;
        let first = self.run(&mut process, workload, cell.seeded).await?;
        let second = self.run(&mut process, workload, cell.seeded).await?;
        process.function.stop().await.context("the function cannot be ended")?;
        eprintln!("  {:?} {} MB: {:?}", cell.pile, cell.memory_mb, second.round);
        costs.cold_s.push((started + first.duration()).as_secs_f64());
        costs.warm.push(second.round);
        if has_node {
            let limits = Limits::of_lambda(cell.memory_mb)?;
            match self.run_peer(Peer::Archiver, cell.seeded, Some(&limits)).await {
                Ok(round) => costs.node.push(round),
                Err(error) => eprintln!("  {:?} {} MB: {error:#}", cell.pile, cell.memory_mb),
            }
        }
        Ok(())
    }
}

impl Cell<'_> {
    fn row(&self, costs: Costs) -> Vec<String> {
        let gb = u32::try_from(self.memory_mb).map_or(f64::NAN, f64::from) / 1024.0;
        let median = |figures: Vec<f64>, scale: f64, digits: usize| match Spread::of(figures) {
            Some(spread) => format!("{:.digits$}", spread.median * scale),
            // It was killed for want of memory, or there is no Node.
            None => "–".to_owned(),
        };
        let wall_s = |rounds: &[Round]| rounds.iter().map(|round| round.wall_ms / 1e3).collect();
        vec![
            format!("{:?}", self.pile),
            self.memory_mb.to_string(),
            median(costs.cold_s.clone(), 1.0, 2),
            median(wall_s(&costs.warm), 1.0, 2),
            median(costs.cold_s, gb, 3),
            median(wall_s(&costs.warm), gb, 3),
            median(costs.warm.iter().map(|round| round.cpu_ms / 1e3).collect(), 1.0, 2),
            median(costs.warm.iter().map(Round::peak_mib).collect(), 1.0, 0),
            median(wall_s(&costs.node), 1.0, 2),
            median(wall_s(&costs.node), gb, 3),
        ]
    }
}
