//! Every command that the README prints is run by something, or is known not to be.

use std::path::Path;

use bdr_tests::doc_commands::{ON_THE_LOCAL_STACK, run};
use bdr_tests::{scenario, scenario_apart};

const README: &str = include_str!("../../../README.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Who runs a command.
enum By {
    /// This file, where this text is found.
    File(&'static str, &'static str),
    /// Nobody, for this reason.
    Nobody(&'static str),
}
use By::{File, Nobody};

const RUNBOOK: &str = "tests/scenarios/runbook.rs";
const THIS: &str = "tests/scenarios/readme.rs";
/// What needs an AWS account is parsed and checked there, and not sent.
const GUIDE: &str = "tests/scenarios/deploy_guide.rs";
const MADE_OF: &str = "What it is made of";

/// The heading above a command, how the command begins, and who runs it. Of a block in a fence, which
/// is run as a whole, the first line is told.
const COVERED: &[(&str, &str, By)] = &[
    (
        "Try it",
        "cargo demo",
        File("infra/local-stack/tests/commands.rs", r#""demo", "--", "--expire""#),
    ),
    ("Try it", "cargo local", File("infra/local-stack/tests/commands.rs", r#""serve""#)),
    ("Try it", "cargo test", File(".ci/run", "\ncargo test\n")),
    ("Deploy", "rustup target add", File(GUIDE, "## Deploy")),
    ("Deploy", "psql", File(THIS, "fn the_role_is_made")),
    ("Deploy", "umask 077", File(GUIDE, "## Deploy")),
    ("Deploy", "aws sesv2 create-email-identity", File(GUIDE, "## Deploy")),
    ("Deploy", "sam deploy", File(GUIDE, "## Deploy")),
    ("Deploy", "stack=makapix-bdr", File(GUIDE, "## Deploy")),
    (
        "Artworks in a bucket that exists already",
        "infra/vault-lifecycle.sh",
        File("tests/scenarios/stack_life.rs", "infra/vault-lifecycle.sh"),
    ),
    ("Inside a VPC", "for service in", File(GUIDE, "### Inside a VPC")),
    ("Update, roll back, delete", "sam deploy", File(GUIDE, "## Deploy")),
    ("Update, roll back, delete", "sam delete", File(GUIDE, "### Update, roll back, delete")),
    (
        MADE_OF,
        "cargo install cargo-cyclonedx --version 0.5.9",
        File(".ci/run", "cargo_cyclonedx=0.5.9"),
    ),
    ("Cleanup", "aws lambda invoke", File(THIS, "fn the_cleanup_is_run")),
    (
        "Metrics and logs",
        "aws cloudformation deploy",
        Nobody("it needs an AWS account; the template is linted"),
    ),
    (
        "Operator's tool",
        "cargo install --path infra/bdrctl",
        Nobody("the scenarios run the same program"),
    ),
    ("Operator's tool", "cargo local", File("infra/local-stack/tests/commands.rs", r#""serve""#)),
    ("Runbook", "stack=makapix-bdr", File(RUNBOOK, "## Runbook")),
    (
        "A message is in the dead-letter queue",
        "bdrctl redrive",
        File(RUNBOOK, "### A message is in the dead-letter queue"),
    ),
    ("Redrive", "bdrctl redrive", File(RUNBOOK, "### Redrive")),
    ("Redrive", "bdrctl retry", File(RUNBOOK, "### Redrive")),
    ("A request is stuck", "bdrctl status", File(RUNBOOK, "### A request is stuck")),
    ("The database is down", "mapping=", File(RUNBOOK, "### The database is down")),
    ("The database is down", "aws lambda", File(RUNBOOK, "### The database is down")),
    ("E-mails do not arrive", "aws sesv2", File(RUNBOOK, "### E-mails do not arrive")),
    (
        "Performance",
        "cargo run --locked -p bdr-bench",
        Nobody("figures of a busy machine say nothing"),
    ),
    ("Development", "cargo test -p bdr-tests -- --ignored", Nobody("it takes hours")),
    ("Development", "cargo test", File(".ci/run", "\ncargo test\n")),
];

/// What the README tells to type: indented lines, shell blocks (their first lines), and commands in
/// the text; each with the heading above it.
fn commands() -> Vec<(&'static str, &'static str)> {
    let (mut heading, mut fence, mut commands) = ("", None, vec![]);
    let mut lines = README.lines();
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
fn every_command_is_covered_and_nothing_is_said_to_be_that_is_not_there() {
    let commands = commands();
    let covers = |(heading, begin, _): &(&str, &str, By), command: &(&str, &str)| {
        command.0 == *heading && command.1.starts_with(begin)
    };
    for command in &commands {
        let covered = COVERED.iter().any(|row| covers(row, command));
        assert!(covered, "nobody runs `{}` under \"{}\"", command.1, command.0);
    }
    for row in COVERED {
        let (heading, begin, by) = row;
        let printed = commands.iter().any(|command| covers(row, command));
        assert!(printed, "\"{heading}\" does not print `{begin}` any more");
        match by {
            File(file, text) => {
                let content = std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
                assert!(content.contains(text), "{file} does not run `{begin}`");
            }
            Nobody(reason) => assert!(!reason.is_empty()),
        }
    }
}

/// The command under this heading that begins so.
fn command(heading: &str, begin: &str) -> &'static str {
    let mut found = commands().into_iter().filter(|(h, c)| *h == heading && c.starts_with(begin));
    found.next().unwrap().1
}

#[test]
fn the_role_is_made_by_the_command_for_it() {
    scenario_apart(async |s| {
        let revoke = "REVOKE SELECT (email) ON users FROM makapix_bdr";
        s.database.batch_execute(revoke).await.unwrap();
        run(&s, &format!("cd '{ROOT}'\n{}", command("Deploy", "psql"))).await;
        let may = "SELECT has_column_privilege('makapix_bdr', 'users', 'email', 'SELECT')";
        assert!(s.database.query_one(may, &[]).await.unwrap().get::<_, bool>(0));
    });
}

/// A command with this for what the reader fills in, in angle brackets.
fn filled(heading: &str, begin: &str, value: &str) -> String {
    let parts = command(heading, begin).split('<');
    parts
        .map(|part| part.split_once('>').map_or(part.into(), |(_, rest)| format!("{value}{rest}")))
        .collect()
}

#[test]
fn the_cleanup_is_run_by_the_commands_for_it() {
    scenario(async |s| {
        let function = s.stack.output("CleanupExpiredBdrsFunctionName").unwrap();
        let invoke = filled("Cleanup", "aws lambda invoke", function);
        for payload in ["", r#"--payload '{"only":["expire"]}'"#] {
            assert!(README.contains(payload));
            let script = format!("{ON_THE_LOCAL_STACK}\n{invoke} {payload}\ncat out.json");
            let printed = run(&s, &script).await;
            assert!(printed.contains("cleaned_up"), "{printed}");
        }
    });
}
