//! `cargo run -p bdr-bench -- <what>`: the release binary of process-bdr-job under load.
//!
//! The binary, with the environment that `template.yaml` gives it, is driven through a Runtime API of
//! our own. Its database and its queue are those of the local stack. Its vault is a server that makes
//! the artworks up as they are asked for, answers after a delay as over a network, and throws the ZIP
//! away as it comes, so that gigabytes need no disk. Beside it run, in turn, the floor (what this machine
//! and that server allow) and a peer (s-zip), both in `peers/`.
//!
//! What is slow is shown, and not judged; a ZIP that is wrong, or memory that grows, is an error.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a report is what it is for")]

mod compare;
mod cost;
mod figures;
mod growth;
mod limits;
mod measurement;
mod options;
mod peers;
mod plot;
mod resident;
mod s3;
mod start;
mod workload;
mod zip_check;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use local_stack::{LocalStack, Progress};

use options::{Options, What};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::select! {
        outcome = bench(&options) => outcome,
        // Dropping the benchmark ends its stack.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn bench(options: &Options) -> Result<()> {
    let peers = peers::build().await?;
    let stack = start_stack(options).await?;
    let result = async {
        let bench = measurement::Bench::prepare(&stack, &peers, options).await?;
        match &options.what {
            What::Compare(compare) => bench.compare(compare).await,
            What::Memory(memory) => bench.memory(memory).await,
            What::Start(start) => bench.start(start).await,
            What::Cost(cost) => bench.cost(cost).await,
        }
    }
    .await;
    stack.stop().await?;
    let report = result?;
    println!("{}", report.text);
    if let Some(wrong) = report.wrong {
        bail!(wrong);
    }
    Ok(())
}

async fn start_stack(options: &Options) -> Result<LocalStack> {
    let mut wanted = local_stack::Options::default().on_progress(|progress| match *progress {
        Progress::Started(step) => eprintln!("  … {}", step.present()),
        Progress::Finished(step, time) => {
            eprintln!("  ✓ {} ({:.1} s)", step.past(), time.as_secs_f64());
        }
        Progress::Note(..) | Progress::Failed(_) => {}
    });
    if let Some(memory_mb) = options.lambda_mb {
        wanted = wanted.parameter("ProcessMemorySize", memory_mb);
    }
    LocalStack::start(wanted).await
}
