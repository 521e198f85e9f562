//! The help of `bdrctl` and of each command.

use std::process::Command;

use super::BDRCTL;

#[test]
fn the_help_of_each_command_is_as_reviewed() {
    for command in [
        "",
        "submit",
        "status",
        "watch",
        "link",
        "log",
        "notify",
        "retry",
        "redrive",
        "erase",
        "cleanup",
        "doctor",
        "completions",
    ] {
        let words = [command, "--help"].into_iter().filter(|word| !word.is_empty());
        let output = Command::new(BDRCTL).args(words).output().unwrap();
        assert!(output.status.success(), "{command}");
        let name = if command.is_empty() { "help" } else { &format!("help_{command}") };
        let help = String::from_utf8(output.stdout).unwrap();
        // clap prints an indented empty line.
        let lines: Vec<_> = help.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(name, lines.join("\n"));
    }
}

#[test]
fn the_completions_of_each_shell_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = Command::new(BDRCTL).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["submit", "redrive", "completions", "older-than"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            let mut bash = Command::new("bash");
            bash.args(["-c", "eval \"$0\"; complete -p bdrctl", &script]);
            let check = bash.output().unwrap();
            let registered = String::from_utf8(check.stdout).unwrap();
            assert!(registered.contains("-F _bdrctl"), "{registered}");
        }
    }
}
