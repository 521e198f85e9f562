//! The only prerequisite besides cargo: Python.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

/// Oldest Python that MiniStack supports.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// Imports the parts of the standard library that the supervisor and the virtual environment use.
/// Debian's python3 has no `ensurepip` without the package python3-venv.
const PROBE: &str = "import argparse, ctypes, ensurepip, ssl, venv, sys; \
                     print(sys.executable, sys.version_info[0], sys.version_info[1])";

/// Tried in this order: a system may have an old `python3` and a newer one beside it.
const NAMES: [&str; 6] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

/// Returns the Python that runs the supervisor and creates the virtual environment.
///
/// # Errors
/// When no suitable Python is installed; the message says what to install.
pub(crate) fn python() -> Result<PathBuf> {
    let mut problem = None;
    for name in NAMES {
        match probe(name) {
            Some(Ok(path)) => return Ok(path),
            // The first one is the one that people mean by "my Python".
            Some(Err(found)) => problem = problem.or(Some(found)),
            None => {}
        }
    }
    bail!(explain(problem.as_deref()))
}

/// Returns the path of a Python or what is wrong with it; `None` if there is no such command.
fn probe(name: &str) -> Option<Result<PathBuf, String>> {
    let output = Command::new(name).args(["-I", "-c", PROBE]).output().ok()?;
    if output.status.success() {
        return Some(judge(&String::from_utf8_lossy(&output.stdout)));
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Some(Err(incomplete(error.trim().lines().last().unwrap_or_default())))
}

/// Reads the answer of [`PROBE`].
fn judge(answer: &str) -> Result<PathBuf, String> {
    let mut words = answer.trim().rsplitn(3, ' ');
    let mut number = || words.next()?.parse::<u32>().ok();
    let version = number().zip(number()).map(|(minor, major)| (major, minor));
    match (version, words.next()) {
        (Some(version), Some(path)) if version >= OLDEST_PYTHON => Ok(path.into()),
        (Some((major, minor)), Some(_)) => {
            Err(format!("python3 is version {major}.{minor}, too old."))
        }
        _ => Err(incomplete(&format!("unexpected answer {answer:?}"))),
    }
}

fn incomplete(problem: &str) -> String {
    format!("python3 is incomplete: {problem}.")
}

fn explain(problem: Option<&str>) -> String {
    let (major, minor) = OLDEST_PYTHON;
    let problem = problem.unwrap_or("python3 was not found.");
    format!(
        "{problem}\n\
         The local stack runs its AWS stand-in on Python {major}.{minor} or newer with venv. To install it, run:\n  \
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
    fn a_new_python_is_usable_even_with_spaces_in_its_path() {
        assert_eq!(
            judge("/opt/my tools/python3 3 12\n"),
            Ok(PathBuf::from("/opt/my tools/python3"))
        );
        assert_eq!(
            judge("/usr/bin/python3 3 9\n").unwrap_err(),
            "python3 is version 3.9, too old."
        );
        let error = judge("hello\n").unwrap_err();
        assert_eq!(error, "python3 is incomplete: unexpected answer \"hello\\n\".");
    }

    #[test]
    fn a_missing_command_is_not_a_problem_of_python() {
        assert_eq!(probe("no-such-python"), None);
    }

    #[test]
    fn the_message_says_what_happened_why_and_what_to_do() {
        assert_eq!(
            explain(Some(&incomplete("No module named 'ensurepip'"))),
            "python3 is incomplete: No module named 'ensurepip'.\n\
             The local stack runs its AWS stand-in on Python 3.10 or newer with venv. To install it, run:\n  \
             Debian, Ubuntu: sudo apt install python3 python3-venv\n  \
             Fedora:         sudo dnf install python3\n  \
             macOS:          brew install python3\n\
             Then run the same command again."
        );
        assert!(explain(None).starts_with("python3 was not found.\n"));
    }
}
