//! The stack for development of the API against it.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use local_stack::{
    LocalStack, STACK,
    artworks::artwork,
    seed::{self, User},
    site::Site,
};
use time::{OffsetDateTime, macros::datetime};
use tokio::time::interval;

use crate::{FunctionArguments, console::Console};

/// Handle of the artist.
const HANDLE: &str = "noa_pixels";
const ARTWORKS: u8 = 12;
const FIRST_DAY: OffsetDateTime = datetime!(2024-01-06 12:00 UTC);

/// Options of `cargo local`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Set a parameter of template.yaml, as in LogLevel=DEBUG; may be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = name_and_value)]
    parameters: Vec<(String, String)>,

    /// Fetch artworks from this local web server too; may be repeated
    #[arg(long = "allow-host", value_name = "HOST:PORT", value_parser = host_and_port)]
    allow_hosts: Vec<String>,

    /// Write the environment of an API to this file, as NAME=VALUE lines
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,

    /// Port of the AWS stand-in (default: a free one)
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    aws_port: u16,

    /// Port of PostgreSQL (default: a free one)
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    database_port: u16,

    /// Port of the page (default: a free one)
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    page_port: u16,

    #[command(flatten)]
    functions: FunctionArguments,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>().is_ok());
    if port != Some(true) || text.contains('/') {
        return Err("expected HOST:PORT, as they are in the artworks' URLs".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs until `interrupted`, or until a server ends.
pub(crate) async fn serve(
    arguments: Arguments,
    console: &Console,
    interrupted: impl Future<Output = ()>,
) -> Result<ExitCode> {
    tokio::pin!(interrupted);
    let mut options = arguments.functions.stack_options(console);
    options = options.ports(arguments.aws_port, arguments.database_port);
    if !arguments.allow_hosts.is_empty() {
        options = options.parameter("RemoteAllowHosts", arguments.allow_hosts.join(","));
    }
    for (name, value) in arguments.parameters {
        options = options.parameter(&name, value);
    }
    let mut stack = tokio::select! {
        stack = LocalStack::start(options) => stack?,
        () = &mut interrupted => return Ok(ExitCode::from(130)),
    };
    let (artist, posts) = seed_artist(&stack).await?;
    let site = Site::start(&stack, arguments.page_port, artist, posts.clone()).await?;
    let environment = environment(&stack)?;
    if let Some(file) = arguments.env_file {
        let lines = lines(&environment, "");
        fs::write(&file, lines + "\n")
            .with_context(|| format!("failed to write {}", file.display()))?;
        console.status(&format!("\nThe environment is in {}.", file.display()));
    }
    console.line(&introduction(&stack, &site, &environment, artist, &posts)?);

    let mut look = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut interrupted => break,
            _ = look.tick() => stack.check_alive()?,
        }
    }
    stack.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Inserts an artist with posts; returns their ids.
async fn seed_artist(stack: &LocalStack) -> Result<(i32, Vec<i32>)> {
    let database = stack.database().await?;
    let user = User {
        handle: HANDLE.into(),
        email: "noa@example.com".into(),
        public_sqid: Some("k5rA".into()),
    };
    let id = user.insert(&database).await?;
    let mut posts = Vec::new();
    for index in 0..ARTWORKS {
        let artwork = artwork(index.into());
        let key = format!("pixels/{index:04}.{}", artwork.extension());
        let created_at = FIRST_DAY + time::Duration::DAY * i32::from(index);
        let post = artwork.post(id, format!("Qx{index}"), format!("/vault/{key}"), created_at);
        posts.push(post.insert(&database).await?);
        seed::put_artwork(&stack.s3(), stack.bucket()?, &key, artwork.bytes).await?;
    }
    Ok((id, posts))
}

/// Returns the environment of an API that uses the stack. No value needs quotes in a shell.
fn environment(stack: &LocalStack) -> Result<Vec<(&'static str, &str)>> {
    let mut environment = stack.environment().to_vec();
    environment.extend([
        ("QUEUE_URL", stack.queue_url()?),
        ("VAULT_BUCKET", stack.bucket()?),
        ("PRESIGN_FUNCTION", stack.output("PresignBdrDownloadFunctionName")?),
        ("CLEANUP_FUNCTION", stack.output("CleanupExpiredBdrsFunctionName")?),
        ("DATABASE_URL", stack.admin_database_url()),
    ]);
    Ok(environment)
}

/// Formats an environment, one variable per line after `prefix`.
fn lines(environment: &[(&str, &str)], prefix: &str) -> String {
    let lines = environment.iter().map(|(name, value)| format!("{prefix}{name}={value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Describes how to use the stack. The commands can be pasted into a shell.
fn introduction(
    stack: &LocalStack,
    site: &Site,
    environment: &[(&str, &str)],
    artist: i32,
    posts: &[i32],
) -> Result<String> {
    let [database_log, aws_log] = stack.log_files();
    Ok(format!(
        r#"
The local stack is running. Ctrl-C stops it and deletes its data.

  page               {page}
  endpoint           {endpoint}
  queue              {queue}
  dead-letter queue  {dead}
  vault bucket       {bucket}
  download URLs      {presign}
  cleanup            {cleanup}
  database           {database}
  functions' role    {functions}
  artist             {HANDLE} (user {artist}), posts {posts}
  e-mails sent       curl -s {endpoint}/_ministack/ses/messages
  log of PostgreSQL  {database_log}
  log of AWS         {aws_log}

The page requests, shows and downloads archives of the artist's sample artworks.

Environment of an API that uses it (S3 clients must also use path style):

{exports}

To submit, watch and download a request, run the lines above and then (`cargo bdrctl` is the operator's
tool):

BDR_ID=$(cargo bdrctl --json submit --user {artist} --posts {posts} --comments --reactions --email |
  sed -n 's/.*"bdr_id": "\([^"]*\)".*/\1/p')
cargo bdrctl watch "$BDR_ID"
curl -OJ "$(cargo bdrctl link "$BDR_ID")"
cargo bdrctl doctor

The same with the command lines of PostgreSQL and AWS:

aws='{aws}'
psql='{psql}'
BDR_ID=$("$psql" -qAtX "$DATABASE_URL" -c "
  INSERT INTO batch_download_requests
    (user_id, post_ids, include_comments, include_reactions, send_email, artwork_count)
  SELECT {artist}, array_agg(id ORDER BY id), true, true, true, count(*)
    FROM posts WHERE owner_id = {artist} RETURNING id")
"$aws" --endpoint-url "$AWS_ENDPOINT_URL" sqs send-message \
  --queue-url "$QUEUE_URL" --message-body "{{\"bdr_id\": \"$BDR_ID\"}}"

To see the request's state, and to get a download URL as the API does at each click (`curl -OJ 'URL'`
saves the archive under its name):

"$psql" -xX "$DATABASE_URL" -c "SELECT * FROM batch_download_requests WHERE id = '$BDR_ID'"
"$aws" --endpoint-url "$AWS_ENDPOINT_URL" lambda invoke --function-name "$PRESIGN_FUNCTION" \
  --payload "{{\"bdr_id\": \"$BDR_ID\", \"user_id\": {artist}}}" /dev/stdout

To read the log of the function that builds the archives:

"$aws" --endpoint-url "$AWS_ENDPOINT_URL" logs filter-log-events \
  --log-group-name /aws/lambda/{STACK}/process-bdr-job --query 'events[].message' --output text

To delete expired archives, as the nightly schedule does:

"$aws" --endpoint-url "$AWS_ENDPOINT_URL" lambda invoke --function-name "$CLEANUP_FUNCTION" /dev/stdout
"#,
        page = site.url(),
        endpoint = stack.endpoint(),
        queue = stack.queue_url()?,
        dead = stack.dead_letter_queue_url()?,
        bucket = stack.bucket()?,
        presign = stack.output("PresignBdrDownloadFunctionName")?,
        cleanup = stack.output("CleanupExpiredBdrsFunctionName")?,
        database = stack.admin_database_url(),
        functions = stack.database_url(),
        aws = stack.aws_command().display(),
        psql = stack.psql_command().display(),
        posts = posts.iter().map(i32::to_string).collect::<Vec<_>>().join(","),
        database_log = database_log.display(),
        aws_log = aws_log.display(),
        exports = lines(environment, "export "),
    ))
}
