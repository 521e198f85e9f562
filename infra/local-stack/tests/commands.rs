//! `cargo demo` and `cargo local`, run as from a fresh clone.

#![expect(clippy::unwrap_used, reason = "a panic reports the failure of a test")]

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

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

/// Ends `cargo local` as Ctrl-C does; returns whether it succeeds.
async fn interrupt(mut local: Child) -> bool {
    let id = local.id().unwrap().to_string();
    Command::new("kill").args(["-INT", &id]).status().await.unwrap();
    local.wait().await.unwrap().success()
}

#[tokio::test]
async fn the_commands_that_cargo_local_prints_run_in_a_shell() {
    // The program itself: cargo does not forward the signal.
    let mut local = Command::new(env!("CARGO_BIN_EXE_local-stack"))
        .arg("local")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
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
    let [exports, _, publish, look, clean] = paragraphs.collect::<Vec<_>>()[..] else {
        panic!("expected five paragraphs of commands:\n{text}");
    };

    let script = format!(
        "set -euo pipefail\n{exports}\n{publish}\nfor _ in $(seq 300); do\nlooked=$(\n{look}\n)\n\
         case $looked in *'\"ok\"'*) break ;; esac\nsleep 0.2\ndone\n\
         printf '%s\\n' \"$looked\"\n{clean}\n"
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
    for part in ["MessageId", "| ready", "makapix-artworks-", "cleaned_up"] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
    assert!(interrupt(local).await, "Ctrl-C is a success");
}
