//! One request through the whole system. An artist requests everything, the deployed functions build
//! and deliver the archive, and every result is compared with what was put in. With `--expire`, the
//! archive then expires, and what the cleanup leaves is checked.

mod archive;
mod checks;
mod download;
mod expected;
mod expiry;
mod mail;
mod row;
mod scene;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bdrctl::{Connection, Operator, Publication, StackOutputs, arguments::StackArguments};
use local_stack::{LocalStack, STACK, Workspace, remote::RemoteHost};
use tokio_postgres::Client;

use crate::FunctionArguments;
use crate::console::{Console, seconds};
use archive::Archive;
use checks::Checks;
use download::Download;
use scene::Scene;

/// The files that the demo writes to `target/demo`.
const RESULTS: [&str; 3] = ["download.zip", "email.html", "email.txt"];

/// Time limit of the function, which includes a retry after a minute.
const PATIENCE: Duration = Duration::from_mins(3);

/// Options of `cargo demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Then let the archive expire, and check what the cleanup leaves
    #[arg(long)]
    pub(crate) expire: bool,

    #[command(flatten)]
    functions: FunctionArguments,
}

/// The running system with the scene in it.
struct Demo<'a> {
    stack: &'a LocalStack,
    console: &'a Console,
    results: &'a Path,
    operator: Operator,
    database: Client,
    scene: Scene,
}

/// Runs the demo; succeeds only when every check holds.
pub(crate) async fn demo(arguments: &Arguments, console: &Console) -> Result<ExitCode> {
    let begun = Instant::now();
    let results = results_directory()?;
    let remote = RemoteHost::start()?;
    let options = arguments
        .functions
        .stack_options(console)
        .parameter("RemoteAllowHosts", remote.authority());
    let stack = LocalStack::start(options).await?;

    let checks = run(arguments, &stack, &remote, console, &results).await;
    if !checks.as_ref().is_ok_and(Checks::all_hold) {
        console.status("\nThe functions' logs:");
        for line in stack.function_logs().await.unwrap_or_default() {
            console.status(&format!("  {line}"));
        }
        console.status(&format!("\nThe end of the AWS stand-in's log:\n{}", stack.aws_log()));
    }
    stack.stop().await?;

    let checks = checks?;
    checks.report(console);
    console.line(&format!("Whole demo: {}", seconds(begun.elapsed())));
    Ok(if checks.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(
    arguments: &Arguments,
    stack: &LocalStack,
    remote: &RemoteHost,
    console: &Console,
    results: &Path,
) -> Result<Checks> {
    let database = stack.database().await?;
    let scene = Scene::put_in_place(stack, &database, remote).await?;
    console.status(&format!("\n{}", scene.summary()));
    let demo = Demo { stack, console, results, operator: operator(stack), database, scene };
    let mut checks = Checks::default();

    let timeline = demo.publish_and_watch().await?;
    let row = demo.row().await?;
    if !row::is_ready(&row, &mut checks) {
        return Ok(checks);
    }
    let Some(download) = Download::fetch(&demo, &row, &mut checks).await? else {
        return Ok(checks);
    };
    demo.write_result("download.zip", &download.zip)?;
    let archive = Archive::read(stack, &download.zip).await?;
    row::check(&demo.scene, &row, download.zip.len(), &mut checks);
    expected::check(&demo.scene, &archive, &mut checks)?;
    mail::check(&demo, &mut checks).await?;
    row::check_queues(stack, &mut checks).await?;

    archive.print(console);
    console.line("\nThe request, counted from its publication:");
    for (state, time) in timeline {
        console.value(&state, seconds(time));
    }
    console.value("URL for the download", seconds(download.presigning));
    console.value("download", seconds(download.fetching));
    if arguments.expire {
        console.line("\nThe archive expires, and the cleanup runs:");
        for (name, found) in expiry::check(&demo, &row, &download.url, &mut checks).await? {
            console.value(name, found);
        }
    }
    console.line("");
    for name in RESULTS {
        console.line(&format!("  {}", from_here(&results.join(name)).display()));
    }
    console.line("");
    Ok(checks)
}

impl Demo<'_> {
    /// Publishes the request, and waits until its row is `ready` or `failed`. Returns its states with
    /// the times at which they were first seen.
    async fn publish_and_watch(&self) -> Result<Vec<(String, Duration)>> {
        let published = Instant::now();
        let (bdr_id, user_id) = (self.scene.request_id, Some(self.scene.artist_id));
        self.operator.publish(Publication { bdr_id, user_id: user_id.map(i64::from) }).await?;
        let spinner = self.console.spinner("waiting for the archive");
        let mut timeline = Vec::new();
        let seen =
            bdrctl::watch(&self.operator, self.scene.request_id, PATIENCE, |request, _, _| {
                let (state, after) = (request.status.clone(), published.elapsed());
                self.console.status(&format!("  {state:<12} after {}", seconds(after)));
                timeline.push((state, after));
                Ok(())
            });
        let seen = seen.await;
        spinner.finish_and_clear();
        seen.map(|_| timeline)
    }

    fn write_result(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.results.join(name);
        fs::write(&path, content).with_context(|| format!("failed to write {}", path.display()))
    }
}

/// Returns an operator of the deployed stack with the API's rights.
fn operator(stack: &LocalStack) -> Operator {
    let connection = Connection {
        aws: stack.sdk_config(),
        s3_path_style: true,
        database_url: Some(stack.admin_database_url().to_owned()),
        database_secret: None,
        database_host: None,
    };
    let outputs = StackOutputs::new(&connection.aws, StackArguments::new(STACK));
    Operator::new(connection, outputs)
}

/// Returns the path relative to the current directory, if it is below.
fn from_here(path: &Path) -> &Path {
    let here = env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

/// Returns `target/demo`, without the results of an earlier run.
fn results_directory() -> Result<PathBuf> {
    let directory = Workspace::find()?.target().join("demo");
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("failed to remove {}", directory.display()))?;
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("failed to create {}", directory.display()))?;
    Ok(directory)
}
