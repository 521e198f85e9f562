//! `cargo run -p bdr-bench -- <command>`: the release binary of process-bdr-job under load.
//!
//! The benchmark runs the binary with the environment of `template.yaml` and invokes it through its own
//! Runtime API. Database and queue are those of the local stack. The vault is an S3 server that
//! generates the artworks while it sends them, delays every response as a network does, and discards
//! the ZIP while it receives it, so that gigabytes need no disk. In turn with the function run the floor
//! (the limit of this machine and this server) and the peers, all in `peers/`.
//!
//! A slow function is not an error. A wrong ZIP is, and so is memory that grows with the ZIP.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the report is the purpose")]

mod bench;
mod compare;
mod cost;
mod gallery;
mod limits;
mod memory;
mod options;
mod peers;
mod phases;
mod plot;
mod s3;
mod sampler;
mod start;
mod table;
mod texts;
mod workload;
mod zip_check;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;
use local_stack::{LocalStack, Progress};

use bench::Bench;
use options::{Measurement, Options};
use peers::Peers;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = tokio::select! {
        result = run(&options) => result,
        // Dropping the benchmark ends its stack.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("\nerror: {error:#}");
    ExitCode::FAILURE
}

async fn run(options: &Options) -> Result<()> {
    let peers = Peers::build().await?;
    let stack = start_stack(options).await?;
    let result = async {
        let bench = Bench::new(&stack, peers, options).await?;
        match &options.measurement {
            Measurement::Compare(compare) => bench.compare(compare).await,
            Measurement::Memory(memory) => bench.memory(memory).await,
            Measurement::Texts(texts) => bench.texts(texts).await,
            Measurement::Start(start) => bench.start(start).await,
            Measurement::Cost(cost) => bench.cost(cost).await,
            Measurement::Gallery(gallery) => bench.gallery(gallery).await,
        }
    }
    .await;
    let stopped = stack.stop().await;
    result.and(stopped)
}

async fn start_stack(options: &Options) -> Result<LocalStack> {
    let mut stack = local_stack::Options::default().on_progress(|progress| match *progress {
        Progress::Started(step) => eprintln!("  … {}", step.present()),
        Progress::Finished(step, time) => {
            eprintln!("  ✓ {} ({:.1} s)", step.past(), time.as_secs_f64());
        }
        Progress::Note(..) | Progress::Failed(_) => {}
    });
    if let Some(memory_mb) = options.lambda_mb {
        stack = stack.parameter("ProcessMemorySize", memory_mb);
    }
    LocalStack::start(stack).await
}
