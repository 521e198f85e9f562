//! One request on its way through the system: an artist asks for everything, the deployed function
//! packs it, and whatever comes out is compared with what went in.

mod archive;
mod checks;
mod expected;
mod mail;
mod outcome;
mod scene;
mod watch;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use local_stack::{LocalStack, Options, Workspace, remote::RemoteHost, seed};

use crate::console::{Console, seconds};
use archive::Archive;
use checks::Checks;
use scene::Scene;

/// What the demo leaves in `target/demo`.
const RESULTS: [&str; 3] = ["download.zip", "email.html", "email.txt"];

/// How long the function may take; a retry after a minute is included.
const PATIENCE: Duration = Duration::from_mins(3);

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the demo; succeeds only when every check holds.
pub(crate) async fn demo(_: &Arguments, console: &Console) -> Result<ExitCode> {
    let begun = Instant::now();
    let results = results_directory()?;
    console.status("Starting the local stack: PostgreSQL, an AWS stand-in, template.yaml.");
    let remote = RemoteHost::start()?;
    let listener = console.clone();
    let options = Options::default()
        .parameter("RemoteAllowHosts", remote.authority())
        .on_progress(move |progress| listener.progress(progress));
    let stack = LocalStack::start(options).await?;

    let outcome = run(&stack, &remote, console, &results).await;
    if outcome.as_ref().map_or(true, |checks| !checks.all_hold()) {
        console.status("\nWhat the function logged:");
        for line in stack.function_logs().await.unwrap_or_default() {
            console.status(&format!("  {line}"));
        }
        console.status(&format!("\nThe AWS stand-in's last lines:\n{}", stack.aws_log()));
    }
    stack.stop().await?;

    let checks = outcome?;
    checks.report(console);
    console.line(&format!("Whole demo: {}", seconds(begun.elapsed())));
    Ok(if checks.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(
    stack: &LocalStack,
    remote: &RemoteHost,
    console: &Console,
    results: &Path,
) -> Result<Checks> {
    let database = stack.database().await?;
    let scene = Scene::put_in_place(stack, &database, remote).await?;
    console.status(&format!("\n{}", scene.summary()));

    let published = Instant::now();
    seed::publish(&stack.sqs(), stack.queue_url()?, scene.request_id).await?;
    let timeline = watch::until_done(&database, scene.request_id, published, console).await?;

    let mut checks = Checks::default();
    let row = outcome::Row::read(&database, scene.request_id).await?;
    if !row.is_ready(&mut checks) {
        return Ok(checks);
    }
    let downloading = Instant::now();
    let zip = outcome::download(stack, &row, &mut checks).await?;
    let download_time = downloading.elapsed();
    let path = results.join("download.zip");
    fs::write(&path, &zip).with_context(|| format!("{} cannot be written", path.display()))?;
    let archive = Archive::read(stack, &zip).await?;

    row.check(&scene, zip.len(), &mut checks);
    expected::check(&scene, &archive, &mut checks)?;
    mail::check(stack, &scene, &mut checks, results).await?;
    outcome::check_queues(stack, &mut checks).await?;

    archive.print(console);
    console.line("");
    timeline.print(console);
    console.line(&format!("  {:<22} {}", "download", seconds(download_time)));
    console.line("");
    for name in RESULTS {
        console.line(&format!("  {}", results.join(name).display()));
    }
    console.line("");
    Ok(checks)
}

/// `target/demo`, without the results of an earlier run.
fn results_directory() -> Result<PathBuf> {
    let directory = Workspace::find()?.target().join("demo");
    fs::create_dir_all(&directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    for name in RESULTS {
        match fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error)
                    .context(format!("the {name} of an earlier run cannot be removed"));
            }
            _ => {}
        }
    }
    Ok(directory)
}
