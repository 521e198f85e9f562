//! Every command that the documentation prints is run by a test, or listed with the reason why not.

use std::path::Path;

use bdr_tests::doc_commands::{ON_THE_LOCAL_STACK, run};
use bdr_tests::{scenario, scenario_apart};

use super::pages::{
    API, CONFIGURATION, CONTRIBUTING, DEPLOY, MIGRATION, OBSERVABILITY, OPERATIONS, PERFORMANCE,
    Page, README, ROOT, SECURITY, SQL,
};

/// The pages whose commands are checked.
const PAGES: [Page; 11] = [
    README,
    CONTRIBUTING,
    SECURITY,
    API,
    CONFIGURATION,
    DEPLOY,
    MIGRATION,
    OBSERVABILITY,
    OPERATIONS,
    PERFORMANCE,
    SQL,
];

/// How a command is covered.
enum Covered {
    /// By the file that contains this text.
    By(&'static str, &'static str),
    /// Not at all, for this reason.
    Not(&'static str),
}
use Covered::{By, Not};

const CI: &str = ".ci/run";
const DEMO: &str = "infra/local-stack/tests/commands.rs";
const RUNBOOK: &str = "tests/scenarios/docs/runbook.rs";
/// Prints the tallies of scenarios that [`CI`] runs.
const BURSTS: &str = "cargo test -p bdr-tests --test scenarios faults::bursts -- --nocapture";
const THIS: &str = "tests/scenarios/docs/commands.rs";
const STEPS: &str = "tests/scenarios/docs/migration.rs";
/// Parses commands that need an AWS account and validates their options, but does not send them.
const GUIDE: &str = "tests/scenarios/docs/deploy_guide.rs";

/// A command by its page, the heading above it and its beginning. Of a fenced block, which is run as a
/// whole, the beginning of the first line.
type Row = (Page, &'static str, &'static str, Covered);

const COVERED: &[Row] = &[
    (README, "Try it", "cargo demo", By(DEMO, r#""demo", "--", "--expire""#)),
    (README, "Try it", "cargo test", By(CI, "\ncargo test\n")),
    (README, "Try it", "cargo local", By(DEMO, r#""local""#)),
    (README, "Deploy", "infra/release.sh", By(GUIDE, "(README, &[\"## Deploy\"])")),
    (
        API,
        "Checksums",
        "sha256sum -c SHA256SUMS",
        By("tests/scenarios/process/gallery.rs", "SHA256SUMS"),
    ),
    (API, "Local stack", "cargo local", By(DEMO, r#""local""#)),
    (API, "Local stack", "cargo demo", By(DEMO, r#""demo", "--", "--expire""#)),
    (DEPLOY, "Prerequisites", "export AWS_REGION=", By(GUIDE, "## Prerequisites")),
    (DEPLOY, "1. Build the functions", "rustup target add", By(GUIDE, "## 1. Build")),
    (DEPLOY, "2. Create the database role", "psql", By(THIS, "fn the_guide_creates_the_role")),
    (DEPLOY, "3. Store the password", "umask 077", By(GUIDE, "## 3. Store")),
    (DEPLOY, "4. Verify the sender", "aws sesv2 create-email-identity", By(GUIDE, "## 4. Verify")),
    (DEPLOY, "5. Configure and deploy", "sam deploy", By(GUIDE, "## 5. Configure")),
    (DEPLOY, "6. Connect the API", "stack=makapix-bdr", By(GUIDE, "## 6. Connect")),
    (
        DEPLOY,
        "Use an existing bucket",
        "infra/vault-lifecycle.sh",
        By("tests/scenarios/deploy/stack_life.rs", "infra/vault-lifecycle.sh"),
    ),
    (
        DEPLOY,
        "Use an existing bucket",
        "infra/vault-cors.sh",
        By("tests/scenarios/deploy/stack_life.rs", "infra/vault-cors.sh"),
    ),
    (DEPLOY, "Run inside a VPC", "for service in", By(GUIDE, "## Run inside a VPC")),
    (DEPLOY, "Release gradually", "echo \"Release=", By(GUIDE, "## Release gradually")),
    (DEPLOY, "Release gradually", "function=$(output", By(GUIDE, "## Release gradually")),
    (DEPLOY, "Release gradually", "aws lambda delete-function", Not("it is named, not printed")),
    (DEPLOY, "Update, roll back, delete", "sam deploy", By(GUIDE, "## 5. Configure")),
    (
        DEPLOY,
        "Update, roll back, delete",
        "aws iam detach-role-policy",
        By(GUIDE, "## Update, roll back, delete"),
    ),
    (
        DEPLOY,
        "Update, roll back, delete",
        "aws cloudformation update-termination-protection",
        By(GUIDE, "## Update, roll back, delete"),
    ),
    (
        DEPLOY,
        "Update, roll back, delete",
        "aws cloudformation set-stack-policy",
        By(GUIDE, "## Update, roll back, delete"),
    ),
    (
        DEPLOY,
        "Write an SBOM",
        "cargo install cargo-cyclonedx --version 0.5.9",
        By(CI, "cargo_cyclonedx=0.5.9"),
    ),
    (MIGRATION, "1. Make the database reachable", "chmod 644", By(STEPS, "sh(REACH, 0)")),
    (MIGRATION, "2. Deploy and pause the queue", "stack=makapix-bdr", By(STEPS, "sh(DEPLOY, 0)")),
    (MIGRATION, "2. Deploy and pause the queue", "mapping=", By(STEPS, "sh(DEPLOY, 1)")),
    (MIGRATION, "3. Copy the artworks", "set -euo pipefail", By(STEPS, "sh(COPY, 0)")),
    (MIGRATION, "3. Copy the artworks", "aws lambda", By(STEPS, "sh(COPY, 1)")),
    (MIGRATION, "5. Switch over", "psql", By(STEPS, "sh(SWITCH, 0)")),
    (MIGRATION, "5. Switch over", "psql", By(STEPS, "sh(SWITCH, 1)")),
    (MIGRATION, "5. Switch over", "rm -r", By(STEPS, "sh(SWITCH, 2)")),
    (MIGRATION, "If `file_path` is an absolute path", "psql", By(STEPS, "sh(DISK_PATHS, 0)")),
    (MIGRATION, "Return to Celery", "aws s3 sync", By(STEPS, "sh(BACK, 0)")),
    (
        OBSERVABILITY,
        "Dashboard",
        "aws cloudformation deploy",
        Not("it needs an AWS account; the template is linted"),
    ),
    (OPERATIONS, "Runbook", "stack=makapix-bdr", By(RUNBOOK, "## Runbook")),
    (
        OPERATIONS,
        "A message is in the dead-letter queue",
        "bdrctl redrive",
        By(RUNBOOK, "### A message is in the dead-letter queue"),
    ),
    (
        OPERATIONS,
        "Large exports",
        "aws stepfunctions list-executions",
        By(RUNBOOK, "### Large exports"),
    ),
    (OPERATIONS, "Redrive", "bdrctl redrive", By(RUNBOOK, "### Redrive")),
    (OPERATIONS, "Redrive", "bdrctl retry", By(RUNBOOK, "### Redrive")),
    (OPERATIONS, "A request is stuck", "bdrctl status", By(RUNBOOK, "### A request is stuck")),
    (OPERATIONS, "Artworks are missing", "aws logs", By(RUNBOOK, "### Artworks are missing")),
    (OPERATIONS, "The database is down", "mapping=", By(RUNBOOK, "### The database is down")),
    (OPERATIONS, "The database is down", "aws lambda", By(RUNBOOK, "### The database is down")),
    (OPERATIONS, "E-mails do not arrive", "aws sesv2", By(RUNBOOK, "### E-mails do not arrive")),
    (OPERATIONS, "The canary fails", "aws logs", By(RUNBOOK, "### The canary fails")),
    (OPERATIONS, "Trouble that passes", BURSTS, By(CI, "\ncargo test\n")),
    (OPERATIONS, "Cleanup", "aws lambda invoke", By(THIS, "fn the_cleanup_is_invoked")),
    (
        OPERATIONS,
        "bdrctl",
        "cargo install --path infra/bdrctl",
        Not("the scenarios run the same program"),
    ),
    (OPERATIONS, "bdrctl", "aws iam attach-role-policy", By(RUNBOOK, "## bdrctl")),
    (OPERATIONS, "bdrctl", "cargo bdrctl", By(".cargo/config.toml", "bdrctl = ")),
    (OPERATIONS, "bdrctl", "cargo local", By(DEMO, r#""local""#)),
    (
        PERFORMANCE,
        "How it is measured",
        "cargo run --locked -p bdr-bench",
        Not("figures of a busy machine mean nothing"),
    ),
    (
        PERFORMANCE,
        "Gallery and checksums",
        "cargo test -p bdr-tests --test scenarios a_page_of_5000",
        Not("figures of a busy machine mean nothing"),
    ),
    (
        PERFORMANCE,
        "Large exports",
        "cargo test --test scenarios export_scale",
        Not("takes minutes, and moves 100 GiB"),
    ),
    (
        PERFORMANCE,
        "The engine, against a model of S3",
        "cargo build --release -p zip-to-s3-contender",
        Not("its figures need the model of S3"),
    ),
    (PERFORMANCE, "In dollars", "aws budgets", By(GUIDE, "### In dollars")),
    (PERFORMANCE, "The binary", "cargo bloat", Not("its figures are estimates, for people")),
    (
        SQL,
        "Adapters",
        "psql",
        By("tests/scenarios/adapters/site.rs", "infra/sql/adapters/{adapter}"),
    ),
    (SQL, "Indexes", "psql", Not("it prints a description of the table, for people")),
    (SECURITY, "Fuzzing", "cargo +nightly fuzz run", Not("it needs a nightly toolchain")),
    (CONTRIBUTING, "Tests", "cargo test", By(CI, "\ncargo test\n")),
    (
        CONTRIBUTING,
        "Fault injection",
        "cargo test -p bdr-tests -- --ignored every_pair",
        Not("it takes hours"),
    ),
    (CONTRIBUTING, "Bursts", BURSTS, By(CI, "\ncargo test\n")),
    (
        CONTRIBUTING,
        "Large exports",
        "cargo test -p bdr-tests --test scenarios kills_at_every_call",
        Not("it takes several minutes"),
    ),
    (
        CONTRIBUTING,
        "Large exports",
        "cargo test -p bdr-tests --test scenarios twenty_minutes",
        Not("it takes several minutes"),
    ),
    (CONTRIBUTING, "The demo picture", "cargo demo", By(DEMO, r#""demo", "--", "--expire""#)),
    (CONTRIBUTING, "The demo picture", "asciinema", Not("it records a terminal")),
    (CONTRIBUTING, "The demo picture", "npx", Not("it needs Node")),
];

/// The commands of a page, each with the heading above it: indented lines, the first lines of shell
/// blocks, and commands in the text.
fn commands(page: Page) -> Vec<(&'static str, &'static str)> {
    let (mut heading, mut fence, mut commands) = ("", None, vec![]);
    let mut lines = page.text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            fence = if fence.is_none() { Some(language) } else { None };
            if fence == Some("sh") {
                commands.extend(lines.next().map(|first| (heading, first)));
            }
        } else if fence.is_none() {
            if line.starts_with('#') {
                heading = line.trim_start_matches('#').trim();
            } else if let Some(command) = line.strip_prefix("    ") {
                commands.push((heading, command));
            } else {
                let spans = line.split('`').skip(1).step_by(2);
                let typed = ["cargo ", "aws ", "sam ", "psql "];
                let spans = spans.filter(|span| typed.iter().any(|name| span.starts_with(name)));
                commands.extend(spans.map(|span| (heading, span)));
            }
        }
    }
    commands
}

#[test]
fn every_printed_command_is_covered() {
    for page in PAGES {
        for (heading, command) in commands(page) {
            let covered = COVERED.iter().any(|row| {
                row.0.path == page.path && row.1 == heading && command.starts_with(row.2)
            });
            assert!(covered, "{}: nothing runs `{command}` under \"{heading}\"", page.path);
        }
    }
}

#[test]
fn every_covered_command_is_printed_and_run() {
    for (page, heading, begin, covered) in COVERED {
        let printed = commands(*page);
        let printed = printed.iter().any(|(h, command)| h == heading && command.starts_with(begin));
        assert!(printed, "{}: \"{heading}\" does not print `{begin}`", page.path);
        match covered {
            By(file, text) => {
                let content = std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
                assert!(content.contains(text), "{file} does not run `{begin}`");
            }
            Not(reason) => assert!(!reason.is_empty()),
        }
    }
}

/// Returns the command under this heading that begins like this.
fn command(page: Page, heading: &str, begin: &str) -> &'static str {
    let mut found =
        commands(page).into_iter().filter(|(h, c)| *h == heading && c.starts_with(begin));
    found.next().unwrap().1
}

#[test]
fn the_guide_creates_the_role() {
    scenario_apart(async |s| {
        let revoke = "REVOKE SELECT (email) ON users FROM makapix_bdr";
        s.database.batch_execute(revoke).await.unwrap();
        let create = command(DEPLOY, "2. Create the database role", "psql");
        run(&s, &format!("cd '{ROOT}'\n{create}")).await;
        let may = "SELECT has_column_privilege('makapix_bdr', 'users', 'email', 'SELECT')";
        assert!(s.database.query_one(may, &[]).await.unwrap().get::<_, bool>(0));
    });
}

/// Replaces each placeholder in angle brackets by this value.
fn filled(command: &str, value: &str) -> String {
    let parts = command.split('<');
    parts
        .map(|part| part.split_once('>').map_or(part.into(), |(_, rest)| format!("{value}{rest}")))
        .collect()
}

#[test]
fn the_cleanup_is_invoked_by_the_printed_commands() {
    scenario(async |s| {
        let function = s.stack.output("CleanupExpiredBdrsFunctionName").unwrap();
        let invoke = filled(command(OPERATIONS, "Cleanup", "aws lambda invoke"), function);
        for payload in ["", r#"--payload '{"only":["expire"]}'"#] {
            assert!(OPERATIONS.text.contains(payload));
            let script = format!("{ON_THE_LOCAL_STACK}\n{invoke} {payload}\ncat out.json");
            let printed = run(&s, &script).await;
            assert!(printed.contains("cleaned_up"), "{printed}");
        }
    });
}
