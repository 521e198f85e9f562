//! The stack for development of the API against it.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use local_stack::{
    LocalStack,
    artworks::artwork,
    seed::{self, User},
};
use time::{OffsetDateTime, macros::datetime};
use tokio::time::interval;

use crate::console::Console;

/// Handle of the artist.
const HANDLE: &str = "noa_pixels";
const ARTWORKS: u8 = 12;
const FIRST_DAY: OffsetDateTime = datetime!(2024-01-06 12:00 UTC);

/// Options of `cargo local`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Set a parameter of template.yaml, as in RemoteAllowHosts=127.0.0.1:8000; may be repeated
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = name_and_value)]
    parameters: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs until `interrupted`, or until a server ends.
pub(crate) async fn serve(
    arguments: Arguments,
    console: &Console,
    interrupted: impl Future<Output = ()>,
) -> Result<ExitCode> {
    tokio::pin!(interrupted);
    let mut options = console.stack_options();
    for (name, value) in arguments.parameters {
        options = options.parameter(&name, value);
    }
    let mut stack = tokio::select! {
        stack = LocalStack::start(options) => stack?,
        () = &mut interrupted => return Ok(ExitCode::from(130)),
    };
    let (artist, posts) = seed_artist(&stack).await?;
    console.line(&introduction(&stack, artist, &posts)?);

    let mut look = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = &mut interrupted => break,
            _ = look.tick() => stack.check_alive()?,
        }
    }
    console.status("\nStopping.");
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

/// Describes how to use the stack. The commands can be pasted into a shell.
fn introduction(stack: &LocalStack, artist: i32, posts: &[i32]) -> Result<String> {
    let exports: Vec<String> =
        stack.environment().iter().map(|(name, value)| format!("export {name}={value}")).collect();
    Ok(format!(
        r#"
The local stack is running. Ctrl-C stops it and deletes its data.

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

Environment of an API that uses it (S3 clients must also use path style):

{exports}
export QUEUE_URL={queue}
export VAULT_BUCKET={bucket}
export PRESIGN_FUNCTION={presign}
export DATABASE_URL='{database}'

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

To delete expired archives, as the nightly schedule does:

"$aws" --endpoint-url "$AWS_ENDPOINT_URL" lambda invoke --function-name {cleanup} /dev/stdout
"#,
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
        exports = exports.join("\n"),
    ))
}
