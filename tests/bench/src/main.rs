//! `cargo run -p bdr-bench`: does the function's memory grow with the ZIP?
//!
//! The release binary of process-bdr-job, with the environment that `template.yaml` gives it, works
//! through requests of growing size, each in a fresh process. Its database and its queue are those
//! of the local stack. Its vault is one that makes the artworks up as they are asked for and throws
//! the ZIP away as it comes, so that gigabytes need no disk, and whatever takes time or memory is
//! the function's own doing.
//!
//! It fails when a ZIP is wrong or when memory grows; how long it takes is shown, and not judged.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a report is what it is for")]

mod artwork;
mod measurement;
mod options;
mod plot;
mod report;
mod resident;
mod s3;
mod workload;
mod zip_check;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use local_stack::{LocalStack, Progress};

use measurement::Bench;
use options::Options;
use report::Report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::select! {
        outcome = bench(&options) => outcome,
        // Dropping the benchmark ends its stack.
        _ = tokio::signal::ctrl_c() => return ExitCode::from(130),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("\nerror: {error}");
        for cause in error.chain().skip(1) {
            eprintln!("  because: {cause}");
        }
        ExitCode::FAILURE
    })
}

async fn bench(options: &Options) -> Result<ExitCode> {
    let stack = start_stack(options).await?;
    let result = measure(options, &stack).await;
    stack.stop().await?;
    let (report, memory_mb) = result?;

    println!("{}\n", report.table());
    if let Some(plot) = report.plot() {
        println!("{plot}\n");
    }
    Ok(match report.verdict(memory_mb) {
        Ok(verdict) => {
            println!("Flat: {verdict}.");
            ExitCode::SUCCESS
        }
        Err(verdict) => {
            println!("NOT FLAT: {verdict}.");
            ExitCode::FAILURE
        }
    })
}

async fn start_stack(options: &Options) -> Result<LocalStack> {
    let mut wanted = local_stack::Options::default().on_progress(|progress| match *progress {
        Progress::Started(step) => eprintln!("  … {}", step.present()),
        Progress::Finished(step, time) => {
            eprintln!("  ✓ {} ({:.1} s)", step.past(), time.as_secs_f64());
        }
        Progress::Note(..) | Progress::Failed(_) => {}
    });
    if let Some(memory_mb) = options.memory_mb {
        wanted = wanted.parameter("ProcessMemorySize", memory_mb);
    }
    LocalStack::start(wanted).await
}

/// Runs all workloads; also returns how much memory the function has.
async fn measure(options: &Options, stack: &LocalStack) -> Result<(Report, u64)> {
    let bench = Bench::prepare(stack, options.latency()).await?;
    let database = stack.database().await?;

    let inspected = options.inspected();
    bench.s3.reset(true);
    let seeded = inspected.seed(&database).await?;
    let measured = bench.run(inspected, &seeded).await?;
    let zip = bench.s3.object(&measured.key).unwrap_or_default();
    zip_check::check(&zip.bytes, &seeded.artworks).context("the ZIP is wrong")?;
    eprintln!("  ✓ a ZIP of {inspected} holds what was asked for, byte for byte");

    let mut report = Report::default();
    for workload in options.workloads() {
        bench.s3.reset(false);
        let seeded = workload.seed(&database).await?;
        let measured = bench.run(workload, &seeded).await?;
        eprintln!("  ✓ {workload} in {:.1} s", measured.duration.as_secs_f64());
        report.add(workload, measured, bench.s3.traffic());
    }
    Ok((report, bench.deployed.memory_mb))
}
