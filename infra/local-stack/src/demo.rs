//! One request on its way through the system: an artist asks for everything, the deployed functions
//! pack it and hand it out, and whatever comes out is compared with what went in. On request, the
//! archive's time is then over, and whatever the cleanup leaves is looked at.

mod archive;
mod checks;
mod download;
mod expected;
mod expiry;
mod mail;
mod outcome;
mod scene;
mod watch;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bdrctl::{Connection, Operator, StackOutputs, arguments::StackArguments};
use local_stack::{LocalStack, Options, STACK, Workspace, remote::RemoteHost};

use crate::console::{Console, seconds};
use archive::Archive;
use checks::Checks;
use download::Download;
use expiry::Expiry;
use scene::Scene;

/// What the demo leaves in `target/demo`.
const RESULTS: [&str; 3] = ["download.zip", "email.html", "email.txt"];

/// How long the function may take; a retry after a minute is included.
const PATIENCE: Duration = Duration::from_mins(3);

/// Options of `cargo demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Then lets the archive's time be over, runs the cleanup, and checks that nothing is left
    #[arg(long)]
    pub(crate) expire: bool,
}

/// Runs the demo; succeeds only when every check holds.
pub(crate) async fn demo(arguments: &Arguments, console: &Console) -> Result<ExitCode> {
    let begun = Instant::now();
    let results = results_directory()?;
    console.status("Starting the local stack: PostgreSQL, an AWS stand-in, template.yaml.");
    let remote = RemoteHost::start()?;
    let listener = console.clone();
    let options = Options::default()
        .parameter("RemoteAllowHosts", remote.authority())
        .on_progress(move |progress| listener.progress(progress));
    let stack = LocalStack::start(options).await?;

    let outcome = run(arguments, &stack, &remote, console, &results).await;
    if outcome.as_ref().map_or(true, |checks| !checks.all_hold()) {
        console.status("\nWhat the functions logged:");
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
    arguments: &Arguments,
    stack: &LocalStack,
    remote: &RemoteHost,
    console: &Console,
    results: &Path,
) -> Result<Checks> {
    let database = stack.database().await?;
    let scene = Scene::put_in_place(stack, &database, remote).await?;
    console.status(&format!("\n{}", scene.summary()));

    let operator = operator(stack);
    let published = Instant::now();
    operator.publish(scene.request_id).await?;
    let timeline = watch::until_done(&operator, scene.request_id, published, console).await?;

    let mut checks = Checks::default();
    let row = outcome::Row::read(&database, scene.request_id).await?;
    if !row.is_ready(&mut checks) {
        return Ok(checks);
    }
    let download = Download::fetch(&operator, &database, &scene, &row, &mut checks).await?;
    let Some(download) = download else { return Ok(checks) };
    let path = results.join("download.zip");
    fs::write(&path, &download.zip)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    let archive = Archive::read(stack, &download.zip).await?;

    row.check(&scene, download.zip.len(), &mut checks);
    expected::check(&scene, &archive, &mut checks)?;
    mail::check(stack, &scene, &mut checks, results).await?;
    outcome::check_queues(stack, &mut checks).await?;
    let expiry = if arguments.expire {
        console.status("\nThe archive's time is over, and the cleanup runs.");
        let expiry =
            Expiry::bring_about(stack, &operator, &database, &scene, &row, &download).await?;
        expiry.check(&mut checks);
        Some(expiry)
    } else {
        None
    };

    archive.print(console);
    console.line("");
    timeline.print(console);
    download.print(console);
    console.line("");
    if let Some(expiry) = expiry {
        expiry.print(console);
        console.line("");
    }
    for name in RESULTS {
        console.line(&format!("  {}", from_here(&results.join(name)).display()));
    }
    console.line("");
    Ok(checks)
}

/// Somebody with the API's rights, at the deployed stack.
fn operator(stack: &LocalStack) -> Operator {
    let connection = Connection {
        aws: stack.sdk_config(),
        s3_path_style: true,
        database_url: Some(stack.admin_database_url().to_owned()),
        database_secret: None,
    };
    let outputs = StackOutputs::new(&connection.aws, StackArguments::new(STACK));
    Operator::new(connection, outputs)
}

/// The path as it is shortest to type.
fn from_here(path: &Path) -> &Path {
    let here = env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
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
