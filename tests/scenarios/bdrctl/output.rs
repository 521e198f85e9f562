//! Output that cannot be written.

use std::fs::File;
use std::io::pipe;
use std::process::Stdio;

use bdr_tests::{Scenario, scenario};

use super::command;

/// Runs `bdrctl status` of a request with this standard output; returns its exit status and standard error.
async fn status_to(s: &Scenario, stdout: Stdio) -> (Option<i32>, String) {
    let bdr_id = s.request(&[1]).await.to_string();
    let mut command = command(s, s.stack.endpoint(), &["status", &bdr_id]);
    // `Command::output` would replace standard output.
    let output = command.stdout(stdout).spawn().unwrap().wait_with_output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    scenario(async |s| {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        assert_eq!(status_to(&s, writer.into()).await, (Some(141), String::new()));
    });
}

#[test]
fn a_full_disk_is_an_error() {
    scenario(async |s| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, error) = status_to(&s, full.into()).await;
        assert_eq!(code, Some(1));
        assert!(error.starts_with("error: failed to write the output\n"), "{error}");
        assert!(error.contains("No space left on device"), "{error}");
    });
}
