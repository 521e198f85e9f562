//! The command line.

#![expect(clippy::doc_markdown, reason = "help prints these texts as they stand here")]

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use uuid::Uuid;

/// Submits, follows, retries and redrives batch download requests, and checks their deployment.
///
/// Region, credentials and endpoints are those of the AWS SDK (AWS_REGION, AWS_PROFILE,
/// AWS_ENDPOINT_URL, ...). The database is that of --database-url, DATABASE_URL or
/// DATABASE_SECRET_ARN, or else the one the functions use.
#[derive(Debug, Parser)]
#[command(name = "bdrctl", version)]
pub struct Arguments {
    /// Where everything is.
    #[command(flatten)]
    pub place: PlaceArguments,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where everything is; what is not given is read from the outputs of the stack.
#[derive(Debug, Clone, Args)]
pub struct PlaceArguments {
    /// The CloudFormation stack
    #[arg(long, global = true, value_name = "NAME", default_value = "makapix-bdr")]
    pub stack: String,
    /// The queue, instead of the stack's
    #[arg(long, global = true, value_name = "URL")]
    pub queue_url: Option<String>,
    /// The dead-letter queue, instead of the stack's
    #[arg(long, global = true, value_name = "URL")]
    pub dead_letter_queue_url: Option<String>,
    /// The vault's bucket, instead of the stack's
    #[arg(long, global = true, value_name = "NAME")]
    pub bucket: Option<String>,
    /// The function process-bdr-job, instead of the stack's
    #[arg(long, global = true, value_name = "NAME")]
    pub process_function: Option<String>,
    /// The function cleanup-expired-bdrs, instead of the stack's
    #[arg(long, global = true, value_name = "NAME")]
    pub cleanup_function: Option<String>,
    /// The function presign-bdr-download, instead of the stack's
    #[arg(long, global = true, value_name = "NAME")]
    pub presign_function: Option<String>,
    /// The database. Other users of this machine can read it here: DATABASE_URL is better
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,
}

impl PlaceArguments {
    /// All as the outputs of this stack say.
    #[must_use]
    pub fn of_stack(name: &str) -> Self {
        Self {
            stack: name.to_owned(),
            queue_url: None,
            dead_letter_queue_url: None,
            bucket: None,
            process_function: None,
            cleanup_function: None,
            presign_function: None,
            database_url: None,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish a request; with --user and --posts, insert its row first
    Submit(SubmitArguments),
    /// Show one request, or list requests by state and age
    Status(StatusArguments),
    /// Follow a request until it is closed; fails when it has failed
    Watch(WatchArguments),
    /// Print a URL, good for minutes, from which the archive can be downloaded
    Link {
        /// The request
        bdr_id: Uuid,
    },
    /// Open a failed request again and publish it
    Retry {
        /// The request
        bdr_id: Uuid,
    },
    /// Retry every request of the dead-letter queue; shows what it would do unless --yes is given
    Redrive(RedriveArguments),
    /// Check the deployment, and say what to do
    Doctor,
}

/// Options of `submit`.
#[derive(Debug, Args)]
pub struct SubmitArguments {
    /// The request, whose row is there already
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    pub bdr_id: Option<Uuid>,
    /// The artist (users.id) of a request to be made
    #[arg(long, value_name = "ID", requires = "posts")]
    pub user: Option<i32>,
    /// Its artworks (posts.id), in order, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', requires = "user")]
    pub posts: Vec<i32>,
    /// With comments.json
    #[arg(long, requires = "user")]
    pub comments: bool,
    /// With reactions.json
    #[arg(long, requires = "user")]
    pub reactions: bool,
    /// With an e-mail to the artist
    #[arg(long, requires = "user")]
    pub email: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// The request; without it requests are listed
    #[arg(conflicts_with_all = ["state", "older_than"])]
    pub bdr_id: Option<Uuid>,
    /// Only requests in this state; may be given several times
    #[arg(long, value_parser = ["pending", "processing", "ready", "failed", "expired"])]
    pub state: Vec<String>,
    /// Only requests that have been in their state for so long, as in 90s, 1h or 2days
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
    /// At most so many, those that came to their state last
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub limit: i64,
}

/// Options of `redrive`.
#[derive(Debug, Args)]
pub struct RedriveArguments {
    /// Do it
    #[arg(long)]
    pub yes: bool,
    /// Seconds for which messages are hidden from others meanwhile; after an interruption they come back
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=43_200))]
    pub visibility_timeout: u32,
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// The request
    pub bdr_id: Uuid,
    /// Give up after so long, as in 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Arguments;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_request_is_named_or_described_and_never_both() {
        let id = "8c4f2a00-0000-4000-8000-000000000001";
        let parses = |line: &str| {
            let words = ["bdrctl", "submit"].into_iter().chain(line.split_whitespace());
            Arguments::try_parse_from(words).is_ok()
        };
        assert!(parses(id) && parses("--user 7 --posts 1,2 --email"));
        for line in ["", "--user 7", "--posts 1", "7", &format!("{id} --user 7 --posts 1")] {
            assert!(!parses(line), "{line}");
        }
    }
}
