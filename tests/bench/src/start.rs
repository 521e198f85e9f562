//! `start`: the time from the start of the process to its first poll for an invocation.

use anyhow::Result;
use bdr_bench::round::Round;

use crate::{
    bench::Bench,
    options::Start,
    table::{spread, table},
};

impl Bench {
    /// Starts one process after the other and prints what they took.
    pub(crate) async fn start(&self, options: &Start) -> Result<()> {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds {
            let (_limits, mut function) = self.start_function(self.lambda_mb).await?;
            let polled = function.polled().await?;
            rounds.push(Round::finish(function.pid(), polled, 0.0)?);
            function.stop().await?;
        }
        let size = std::fs::metadata(&self.deployed.bootstrap)?.len();
        let table = table(
            &[rounds],
            &[
                ("exec to first poll, ms", &|rounds| spread(rounds, |round| round.wall_s * 1e3, 1)),
                ("CPU ms", &|rounds| spread(rounds, |round| round.cpu_s * 1e3, 1)),
                ("RSS MiB", &|rounds| spread(rounds, |round| round.peak_mib, 1)),
                ("binary, bytes", &|_| size.to_string()),
            ],
        );
        println!("{table}");
        Ok(())
    }
}
