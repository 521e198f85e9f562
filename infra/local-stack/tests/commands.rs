//! `cargo demo` and `cargo local`, run as from a fresh clone.

#![expect(clippy::unwrap_used, reason = "a panic reports the failure of a test")]

use std::fs::File;
use std::io::pipe;
use std::process::Stdio;
use std::time::Duration;

use local_stack::remote::RemoteHost;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_postgres::NoTls;

/// The recorded terminal that the README shows: an SVG with a symbol per line and a text per word.
const PICTURE: &str = include_str!("../../../docs/demo.svg");

/// Longest wait for a command, which may include a link. It only ends a test that has failed.
const PATIENCE: Duration = Duration::from_mins(20);

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .kill_on_drop(true);
    cargo
}

/// Returns the words of a line that are the same in every run.
fn lasting(line: &str) -> String {
    let words = line.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

/// Returns the words of an SVG element's texts.
fn words(element: &str) -> String {
    let texts = element.split("<text").skip(1);
    let words = texts.map(|text| text.split(['<', '>']).nth(1).unwrap_or_default());
    let line = words.collect::<Vec<_>>().join(" ");
    line.replace("&lt;", "<").replace("&gt;", ">").replace("&#x27;", "'").replace("&amp;", "&")
}

/// Returns the lines that the picture shows of the demo's own output: not the prompt, cargo's messages, spinners
/// and progress bars.
fn recorded() -> Vec<String> {
    let symbols = PICTURE.split("<symbol ").skip(1);
    let lines = symbols.map(|symbol| words(symbol.split("</symbol>").next().unwrap_or_default()));
    let is_transient = |c: char| ('\u{2800}'..='\u{28ff}').contains(&c) || ['$', '['].contains(&c);
    lines
        .filter(|line| !line.starts_with(is_transient) && !line.starts_with("Finished `"))
        .filter(|line| !line.starts_with("Running `"))
        .collect()
}

#[tokio::test]
async fn the_demo_prints_what_its_picture_shows_and_every_check_holds() {
    let demo = cargo(&["demo", "--", "--expire"]).output();
    let output = tokio::time::timeout(PATIENCE, demo).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}\n{out}");

    let own = err.lines().skip_while(|line| !line.starts_with("Starting the local stack"));
    for line in out.lines().chain(own) {
        assert!(line.chars().count() <= 80, "a terminal of 80 columns wraps {line:?}");
    }
    let order =
        ["size in ZIP", "The request, counted", "The archive expires", "target/demo", "All "];
    let out_in_words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    let places = order.map(|text| out_in_words.find(text).expect(text));
    assert!(places.is_sorted(), "{out}");

    let printed: Vec<String> = out.lines().chain(err.lines()).map(lasting).collect();
    // The picture starts below the head of this table.
    assert!(printed.contains(&"size in ZIP method name".to_owned()), "{out}");
    let mut compared = 0;
    for line in recorded().iter().map(|line| lasting(line)).filter(|line| !line.is_empty()) {
        // States that may end before the demo sees them.
        let passing = ["pending after s", "processing after s", "pending s", "processing s"];
        if passing.contains(&line.as_str()) {
            continue;
        }
        assert!(
            printed.contains(&line),
            "docs/demo.svg shows {line:?}, the demo does not print it. To record it again, see CONTRIBUTING.md.\n\
             {err}\n{out}"
        );
        compared += 1;
    }
    assert!(compared > 20, "docs/demo.svg shows {compared} lines of the demo");
}

/// Returns a command that runs the program itself: cargo does not forward signals.
fn local_stack(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-stack"));
    command.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    command.kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_closed_pipe_ends_the_demo_quietly_and_a_full_disk_with_an_error() {
    let (reader, closed) = pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for (stdout, code) in [(Stdio::from(closed), 141), (Stdio::from(full), 1)] {
        // `Command::output` would replace standard output.
        let demo = local_stack(&["demo"]).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let output =
            tokio::time::timeout(PATIENCE, demo.wait_with_output()).await.unwrap().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(!error.contains("panicked"), "{error}");
        assert_eq!(error.contains("error: failed to write the output: "), code == 1, "{error}");
    }
}

#[tokio::test]
async fn ctrl_c_removes_the_spinners() {
    let spins = |text: &str| text.contains(|c: char| ('\u{2800}'..='\u{28ff}').contains(&c));
    // Runs the demo on a terminal, which sends SIGINT for the byte 3.
    let demo = format!("{} demo", env!("CARGO_BIN_EXE_local-stack"));
    let mut terminal = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &demo, "/dev/null"])
        // Without it the terminal has no spinners.
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = terminal.stdin.take().unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap()).split(b'\n');
    let (mut shown, mut is_interrupted) = (String::new(), false);
    while let Some(line) =
        tokio::time::timeout(PATIENCE, lines.next_segment()).await.unwrap().unwrap()
    {
        shown += &String::from_utf8_lossy(&line);
        shown.push('\n');
        // A step may end before its spinner is drawn. Another step has begun when one has ended.
        let has_ended = line.windows(3).any(|part| part == "✓".as_bytes());
        // Once: a second one ends the demo before it says that it stops.
        if has_ended && spins(&shown) && !is_interrupted {
            stdin.write_all(b"\x03").await.unwrap();
            is_interrupted = true;
        }
    }
    assert_eq!(terminal.wait().await.unwrap().code(), Some(130), "{shown}");
    let (before, after) = shown.split_once("Stopping.").unwrap();
    assert!(spins(before) && !spins(after), "{shown}");
    // The escape sequence that erases a line.
    assert!(!spins(before.rsplit("\u{1b}[2K").next().unwrap()), "{shown}");
}

/// Ends `cargo local` as Ctrl-C does; returns whether it succeeds.
async fn interrupt(mut local: Child) -> bool {
    let id = local.id().unwrap().to_string();
    Command::new("kill").args(["-INT", &id]).status().await.unwrap();
    local.wait().await.unwrap().success()
}

#[tokio::test]
async fn the_commands_that_cargo_local_prints_run_in_a_shell() {
    let host = RemoteHost::start().unwrap();
    let picture = host.put("/cat.png", "image/png", b"\x89PNG\r\n\x1a\n".to_vec());
    let folder = tempfile::tempdir().unwrap();
    let env_file = folder.path().join("env");
    let options =
        ["local", "--allow-host", host.authority(), "--env-file", env_file.to_str().unwrap()];
    let mut local = local_stack(&options).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(local.stdout.take().unwrap()).lines();
    let introduction = async {
        let mut text = String::new();
        // The last paragraph is one command.
        while !text.contains("\n\nTo delete expired archives") || !text.ends_with("stdout\n") {
            text += &lines.next_line().await.unwrap().expect("the end of the introduction");
            text.push('\n');
        }
        text
    };
    let text = tokio::time::timeout(PATIENCE, introduction).await.unwrap();
    let (_, text) = text.split_once("\n\nexport ").unwrap();
    let text = format!("export {text}");
    let paragraphs = text.trim().split("\n\n").filter(|paragraph| !paragraph.ends_with(':'));
    // Other scenarios run the commands of the operator's tool.
    let [exports, _, publish, look, logs, clean] = paragraphs.collect::<Vec<_>>()[..] else {
        panic!("expected six paragraphs of commands:\n{text}");
    };
    let environment = std::fs::read_to_string(&env_file).unwrap();
    assert_eq!(environment.trim(), exports.replace("export ", ""));
    let database = environment.lines().find_map(|line| line.strip_prefix("DATABASE_URL="));
    let (database, connection) = tokio_postgres::connect(database.unwrap(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let elsewhere = "UPDATE posts SET art_url = $1, file_format = 'png' WHERE id = 1";
    assert_eq!(database.execute(elsewhere, &[&picture]).await.unwrap(), 1);

    let env_file = env_file.display();
    let script = format!(
        "set -euo pipefail\nset -a\n. {env_file}\nset +a\n{publish}\nfor _ in $(seq 300); do\nlooked=$(\n{look}\n)\n\
         case $looked in *'| ready'*'\"ok\"'*) break ;; esac\nsleep 0.2\ndone\n\
         printf '%s\\n' \"$looked\"\n\
         for _ in $(seq 300); do\nlogged=$(\n{logs}\n)\n\
         case $logged in *'\"missing\":'*) break ;; esac\nsleep 0.2\ndone\n\
         printf '%s\\n' \"$logged\"\n{clean}\n"
    );
    let mut shell = Command::new("bash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    let output = tokio::time::timeout(PATIENCE, shell.wait_with_output()).await.unwrap().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The artwork of the local web server is not missing.
    let whole = r#""missing":0"#;
    for part in ["MessageId", "| ready", "makapix-artworks-", whole, "cleaned_up"] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    assert!(interrupt(local).await, "Ctrl-C is a success");
}
