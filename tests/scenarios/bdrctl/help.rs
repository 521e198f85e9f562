//! The help of `bdrctl` and of each command.

use std::process::Command;

use super::BDRCTL;

#[test]
fn the_help_of_each_command_is_as_reviewed() {
    for command in ["", "submit", "status", "watch", "link", "retry", "redrive", "erase", "doctor"]
    {
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
