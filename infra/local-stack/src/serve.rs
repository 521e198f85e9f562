//! The stack staying up, for somebody who develops the API against it.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use local_stack::{
    LocalStack, Options,
    artworks::artwork,
    seed::{self, User},
};
use time::{OffsetDateTime, macros::datetime};
use tokio::time::interval;

use crate::console::Console;

const ARTWORKS: u8 = 12;
const FIRST_DAY: OffsetDateTime = datetime!(2024-01-06 12:00 UTC);

/// Options of `cargo local`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A parameter of template.yaml, as in RemoteAllowHosts=127.0.0.1:8000; may be given several times
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = name_and_value)]
    parameters: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Runs until `interrupted`, or until a server dies.
pub(crate) async fn serve(
    arguments: Arguments,
    console: &Console,
    interrupted: impl Future<Output = ()>,
) -> Result<ExitCode> {
    tokio::pin!(interrupted);
    let listener = console.clone();
    let options = arguments
        .parameters
        .into_iter()
        .fold(Options::default(), |options, (name, value)| options.parameter(&name, value))
        .on_progress(move |progress| listener.progress(progress));
    console.status("Starting the local stack: PostgreSQL, an AWS stand-in, template.yaml.");
    let mut stack = tokio::select! {
        stack = LocalStack::start(options) => stack?,
        () = &mut interrupted => return Ok(ExitCode::from(130)),
    };
    let artist = seed_artist(&stack).await?;
    console.line(&introduction(&stack, &artist)?);

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

struct Artist {
    id: i32,
    handle: String,
    posts: Vec<i32>,
}

async fn seed_artist(stack: &LocalStack) -> Result<Artist> {
    let database = stack.database().await?;
    let user = User {
        handle: "noa_pixels".into(),
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
    Ok(Artist { id, handle: user.handle, posts })
}

/// What one needs to know to use the stack. Everything can be pasted into a shell.
fn introduction(stack: &LocalStack, artist: &Artist) -> Result<String> {
    let exports: Vec<String> =
        stack.environment().iter().map(|(name, value)| format!("export {name}={value}")).collect();
    let (first, last) = (artist.posts.iter().min(), artist.posts.iter().max());
    Ok(format!(
        r#"
The local stack is up. Ctrl-C stops it, and nothing of it remains.

  endpoint           {endpoint}
  queue              {queue}
  dead-letter queue  {dead}
  vault bucket       {bucket}
  downloads          {presign} (the function that gives their URLs)
  cleanup            {cleanup}
  database           {database}
  … as the functions {functions}
  artist             {handle} (user {user}) with {count} artworks (posts {first} to {last})
  e-mails sent       curl -s {endpoint}/_ministack/ses/messages

For an API that is to use it (S3 clients must also ask for path style):

{exports}
export QUEUE_URL={queue}
export VAULT_BUCKET={bucket}
export PRESIGN_FUNCTION={presign}
export DATABASE_URL='{database}'

To make a request by hand, follow it and fetch it, paste the lines above and then (`cargo bdrctl` is the
operator's tool, and needs nothing more):

BDR_ID=$(cargo bdrctl --json submit --user {user} --posts {posts} --comments --reactions --email |
  sed -n 's/.*"bdr_id": "\([^"]*\)".*/\1/p')
cargo bdrctl watch "$BDR_ID"
curl -OJ "$(cargo bdrctl link "$BDR_ID")"
cargo bdrctl doctor

The same with nothing but the command lines of PostgreSQL and AWS:

aws='{aws}'
psql='{psql}'
BDR_ID=$("$psql" -qAtX "$DATABASE_URL" -c "
  INSERT INTO batch_download_requests
    (user_id, post_ids, include_comments, include_reactions, send_email, artwork_count)
  SELECT {user}, array_agg(id ORDER BY id), true, true, true, count(*)
    FROM posts WHERE owner_id = {user} RETURNING id")
"$aws" --endpoint-url "$AWS_ENDPOINT_URL" sqs send-message \
  --queue-url "$QUEUE_URL" --message-body "{{\"bdr_id\": \"$BDR_ID\"}}"

A moment later, see what became of it; and ask where it can be fetched, as the API does at each click
(curl -OJ 'URL' then does so under the name it is to have):

"$psql" -xX "$DATABASE_URL" -c "SELECT * FROM batch_download_requests WHERE id = '$BDR_ID'"
"$aws" --endpoint-url "$AWS_ENDPOINT_URL" lambda invoke --function-name "$PRESIGN_FUNCTION" \
  --payload "{{\"bdr_id\": \"$BDR_ID\", \"user_id\": {user}}}" /dev/stdout

To delete what has expired, as is done every night:

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
        handle = artist.handle,
        user = artist.id,
        count = artist.posts.len(),
        posts = artist.posts.iter().map(i32::to_string).collect::<Vec<_>>().join(","),
        first = first.copied().unwrap_or_default(),
        last = last.copied().unwrap_or_default(),
        exports = exports.join("\n"),
    ))
}
