//! The command line.

#![expect(clippy::doc_markdown, reason = "help prints these texts as they stand here")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use shared::sqid::Sqid;
use uuid::Uuid;

/// The exit statuses, as `ErrorKind` defines them.
const EXIT_STATUS: &str = "\
Exit status:
  0  Success
  1  Failure: the command failed, `watch` ended at a failed request, `doctor` found an error, or `redrive`
     left a message
  2  The command line is not valid
  3  The request or the deployment does not exist
  4  Access is denied, or there are no credentials

With --json, an error is one JSON object on standard error.";

/// Submit, watch, retry and redrive batch download requests, and check their deployment
///
/// Region, credentials and endpoints come from the AWS SDK's settings (AWS_REGION, AWS_PROFILE,
/// AWS_ENDPOINT_URL, ...). The database comes from --database-url, else DATABASE_URL, else
/// DATABASE_SECRET_ARN (default: the functions' database).
#[derive(Debug, Parser)]
#[command(name = "bdrctl", bin_name = "bdrctl", version, after_help = EXIT_STATUS)]
pub struct Arguments {
    /// The deployment.
    #[command(flatten)]
    pub stack: StackArguments,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Parses a command line that begins with the name of the program. Ignores `--` before the command,
    /// so that `cargo bdrctl -- --help` does what `cargo bdrctl --help` does.
    ///
    /// # Errors
    /// When the command line is not valid, and when it asks for help or the version.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words = words.into_iter().enumerate();
        let words = words.filter(|(index, word)| *index != 1 || word != "--");
        let arguments = Self::try_parse_from(words.map(|(_, word)| word))?;
        match &arguments.command {
            Command::Submit(submit) if submit.bdr_id.is_none() && submit.user.is_none() => {
                let mut command = Self::command();
                let submit = command.find_subcommand_mut("submit");
                let mut submit = submit.cloned().unwrap_or_else(Self::command);
                Err(submit.error(ErrorKind::MissingRequiredArgument, NO_REQUEST))
            }
            _ => Ok(arguments),
        }
    }
}

/// The error of `submit` without a request.
const NO_REQUEST: &str = "specify <BDR_ID> to publish a request whose row exists, or --user and --posts to \
                          insert and publish one";

/// Parses the id of a request.
fn request_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| {
        "not a request id; expected a UUID such as 8c4f2a00-1d5e-4f6a-9b7c-2e3d4f5a6b7c".to_owned()
    })
}

/// The CloudFormation stack of a deployment, and resources to use instead of its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Deployment")]
pub struct StackArguments {
    /// Use the resources of this CloudFormation stack (default: makapix-bdr)
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "makapix-bdr",
        hide_default_value = true
    )]
    pub stack: String,
    /// Use this queue (default: the stack's)
    #[arg(long, global = true, value_name = "URL")]
    pub queue_url: Option<String>,
    /// Use this dead-letter queue (default: the stack's)
    #[arg(long, global = true, value_name = "URL")]
    pub dead_letter_queue_url: Option<String>,
    /// Use this bucket as the vault (default: the stack's)
    #[arg(long, global = true, value_name = "NAME")]
    pub bucket: Option<String>,
    /// Use this function as process-bdr-job (default: the stack's)
    #[arg(long, global = true, value_name = "NAME")]
    pub process_function: Option<String>,
    /// Use this function as cleanup-expired-bdrs (default: the stack's)
    #[arg(long, global = true, value_name = "NAME")]
    pub cleanup_function: Option<String>,
    /// Use this function as presign-bdr-download (default: the stack's)
    #[arg(long, global = true, value_name = "NAME")]
    pub presign_function: Option<String>,
    /// Use this database (default: see above). Other users of this machine can read arguments; prefer
    /// DATABASE_URL
    #[arg(long, global = true, value_name = "URL")]
    pub database_url: Option<String>,
}

impl StackArguments {
    /// Returns the arguments that use the resources of the stack `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
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

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish a request; with --user and --posts, insert its row first
    Submit(SubmitArguments),
    /// Show one request, or list requests by state and age
    Status(StatusArguments),
    /// Print each state of a request, and the progress of its large export, until it is ready, failed or expired; exit with 1 if it failed
    Watch(WatchArguments),
    /// Print a presigned URL of the archive (the deployment sets its validity; 15 minutes by default)
    Link {
        /// Id of the request
        #[arg(value_parser = request_id)]
        bdr_id: Uuid,
    },
    /// Print what the functions logged about a request, in order
    Log(LogArguments),
    /// Send the artist the e-mail about a ready request again
    Notify {
        /// Id of the request
        #[arg(value_parser = request_id)]
        bdr_id: Uuid,
    },
    /// Reopen a failed request and publish it, or resume its large export where it stood
    Retry {
        /// Id of the request
        #[arg(value_parser = request_id)]
        bdr_id: Uuid,
    },
    /// Retry each request of the dead-letter queue, or discard its messages; exit with 1 if a message is left
    Redrive(RedriveArguments),
    /// Delete the archive of a request, or all archives of an artist, at once
    Erase(EraseArguments),
    /// Run the cleanup now, and print what it did
    Cleanup(CleanupArguments),
    /// Check the deployment, and print what to do about each problem
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Options of `submit`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("request").args(["bdr_id", "user"])),
    override_usage = "bdrctl submit [OPTIONS] <BDR_ID>
       bdrctl submit [OPTIONS] --user <ID> --posts <IDS>",
)]
pub struct SubmitArguments {
    /// Id of a request whose row exists
    #[arg(value_parser = request_id)]
    pub bdr_id: Option<Uuid>,
    /// Insert a request of this artist (users.id)
    #[arg(long, value_name = "ID", requires = "posts")]
    pub user: Option<i64>,
    /// Include these artworks (posts.id) in this order, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', requires = "user")]
    pub posts: Vec<i64>,
    /// Include comments.json
    #[arg(long, requires = "user")]
    pub comments: bool,
    /// Include reactions.json
    #[arg(long, requires = "user")]
    pub reactions: bool,
    /// Send the artist an e-mail about the result
    #[arg(long, requires = "user")]
    pub email: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Id of the request (default: list requests)
    #[arg(value_parser = request_id, conflicts_with_all = ["state", "older_than"])]
    pub bdr_id: Option<Uuid>,
    /// List only requests in this state (repeatable)
    #[arg(long, value_parser = ["pending", "processing", "ready", "failed", "expired"])]
    pub state: Vec<String>,
    /// List only requests that have been in their state for at least this time (such as 90s, 1h or 2d)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
    /// List at most this many requests, most recently changed first (default: 50)
    #[arg(long, value_name = "N", default_value_t = 50, hide_default_value = true, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub limit: i64,
}

/// Options of `redrive`.
#[derive(Debug, Args)]
pub struct RedriveArguments {
    /// Apply the changes without asking (default: dry run; with --discard: ask)
    #[arg(long)]
    pub yes: bool,
    /// Do not retry requests; delete the messages that are not requests, or whose request does not exist or
    /// is ready, expired or failed
    #[arg(long)]
    pub discard: bool,
    /// Hide received messages from other consumers for this time (seconds, default: 120)
    #[arg(long, value_name = "SECONDS", default_value_t = 120, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..=43_200))]
    pub visibility_timeout: u32,
}

/// Options of `erase`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("erased").required(true).args(["bdr_id", "user"])))]
pub struct EraseArguments {
    /// Id of the request
    pub bdr_id: Option<Uuid>,
    /// Delete all archives of this artist (users.public_sqid)
    #[arg(long, value_name = "SQID", value_parser = sqid)]
    pub user: Option<Sqid>,
    /// Delete without asking for confirmation
    #[arg(long)]
    pub yes: bool,
}

fn sqid(text: &str) -> Result<Sqid, &'static str> {
    Sqid::parse(text).ok_or("a public id has 1 to 64 letters and digits")
}

/// Options of `log`.
#[derive(Debug, Args)]
pub struct LogArguments {
    /// Id of the request
    #[arg(value_parser = request_id)]
    pub bdr_id: Uuid,
    /// Read the logs of the last TIME, such as 2h or 30d (default: 14d)
    #[arg(long, value_name = "TIME", default_value = "14d", hide_default_value = true, value_parser = humantime::parse_duration)]
    pub since: Duration,
}

/// Options of `cleanup`.
#[derive(Debug, Args)]
pub struct CleanupArguments {
    /// Run only these tasks, separated by commas (default: all)
    #[arg(long, value_name = "TASKS", value_delimiter = ',', value_parser = ["expire", "rescue", "republish", "orphans", "purge"])]
    pub only: Vec<String>,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Also list what is as required (default: problems only)
    #[arg(long)]
    pub all: bool,
    /// Compare the stack's parameters with this file of the SAM CLI (default: ./samconfig.toml, if it deploys
    /// the stack)
    #[arg(long, value_name = "FILE")]
    pub samconfig: Option<PathBuf>,
    /// Compare with this environment of the file (default: the one that deploys the stack)
    #[arg(long, value_name = "NAME")]
    pub config_env: Option<String>,
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// Id of the request
    #[arg(value_parser = request_id)]
    pub bdr_id: Uuid,
    /// Give up after this time, such as 90s or 5m (default: 1h)
    #[arg(long, value_name = "TIME", default_value = "1h", hide_default_value = true, value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_valid() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn submit_takes_either_an_id_or_a_description() {
        let id = "8c4f2a00-0000-4000-8000-000000000001";
        let parses = |line: &str| {
            let words = ["bdrctl", "submit"].into_iter().chain(line.split_whitespace());
            Arguments::read(words.map(OsString::from)).is_ok()
        };
        assert!(parses(id) && parses("--user 7 --posts 1,2 --email"));
        for line in ["", "--user 7", "--posts 1", "7", &format!("{id} --user 7 --posts 1")] {
            assert!(!parses(line), "{line}");
        }
    }

    #[test]
    fn one_separator_before_the_command_is_ignored() {
        let read = |words: &[&str]| Arguments::read(words.iter().map(OsString::from));
        assert!(read(&["bdrctl", "--", "doctor"]).is_ok());
        assert!(read(&["bdrctl", "--", "--", "doctor"]).is_err());
        assert!(read(&["bdrctl", "status", "--", "8c4f2a00-0000-4000-8000-000000000001"]).is_ok());
    }
}
