//! What has to be on the machine before anything else: cargo, which runs us, and Python.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

/// Oldest Python that MiniStack runs on.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// Everything of the standard library that the supervisor and the virtual environment need. Debian's
/// python3 has no `ensurepip` until python3-venv is installed.
const PROBE: &str = "import argparse, ctypes, ensurepip, ssl, venv, sys; \
                     print(sys.executable, sys.version_info[0], sys.version_info[1])";

/// Tried in this order: a system may have an old `python3` and a newer one beside it.
const NAMES: [&str; 6] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

/// What was found when a Python was asked about itself.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Usable(PathBuf),
    TooOld(u32, u32),
    Incomplete(String),
    Nothing,
}

/// The Python that runs the supervisor and makes the virtual environment.
///
/// # Errors
/// When there is none that will do; the message says what to install.
pub(crate) fn python() -> Result<PathBuf> {
    let mut problem = Found::Nothing;
    for name in NAMES {
        match ask(name) {
            Found::Usable(path) => return Ok(path),
            Found::Nothing => {}
            // The first one is the one people mean by "my Python".
            worse => {
                if problem == Found::Nothing {
                    problem = worse;
                }
            }
        }
    }
    bail!(explain(&problem))
}

fn ask(name: &str) -> Found {
    let Ok(output) = Command::new(name).args(["-I", "-c", PROBE]).output() else {
        return Found::Nothing;
    };
    if output.status.success() {
        judge(&String::from_utf8_lossy(&output.stdout))
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        Found::Incomplete(complaint.trim().lines().last().unwrap_or_default().to_owned())
    }
}

fn judge(answer: &str) -> Found {
    let mut words = answer.trim().rsplitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
    let (minor, major) = (number(), number());
    match words.next() {
        Some(path) if (major, minor) >= OLDEST_PYTHON => Found::Usable(path.into()),
        Some(_) => Found::TooOld(major, minor),
        None => Found::Incomplete(format!("it answered {answer:?}")),
    }
}

fn explain(problem: &Found) -> String {
    let (major, minor) = OLDEST_PYTHON;
    let what = match problem {
        Found::TooOld(major, minor) => format!("python3 is version {major}.{minor}, too old."),
        Found::Incomplete(complaint) => format!("python3 lacks a part: {complaint}."),
        Found::Usable(_) | Found::Nothing => "python3 was not found.".to_owned(),
    };
    format!(
        "{what}\n\
         The local stack runs its AWS stand-in on Python {major}.{minor} or newer with venv. Install it:\n  \
         Debian, Ubuntu: sudo apt install python3 python3-venv\n  \
         Fedora:         sudo dnf install python3\n  \
         macOS:          brew install python3\n\
         Then run the same command again."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_new_enough_is_usable_even_with_spaces_in_its_path() {
        assert_eq!(
            judge("/opt/my tools/python3 3 12\n"),
            Found::Usable("/opt/my tools/python3".into())
        );
        assert_eq!(judge("/usr/bin/python3 3 9\n"), Found::TooOld(3, 9));
        assert!(matches!(judge("hello\n"), Found::Incomplete(_)));
    }

    #[test]
    fn a_command_that_does_not_exist_is_nothing() {
        assert_eq!(ask("no-such-python"), Found::Nothing);
    }

    #[test]
    fn the_message_says_what_happened_why_and_what_to_do() {
        let message = explain(&Found::Incomplete("No module named 'ensurepip'".into()));
        assert_eq!(
            message,
            "python3 lacks a part: No module named 'ensurepip'.\n\
             The local stack runs its AWS stand-in on Python 3.10 or newer with venv. Install it:\n  \
             Debian, Ubuntu: sudo apt install python3 python3-venv\n  \
             Fedora:         sudo dnf install python3\n  \
             macOS:          brew install python3\n\
             Then run the same command again."
        );
        assert!(explain(&Found::TooOld(3, 9)).starts_with("python3 is version 3.9, too old.\n"));
        assert!(explain(&Found::Nothing).starts_with("python3 was not found.\n"));
    }
}
