//! `erase`.

use std::process::Stdio;

use bdr_tests::{Scenario, scenario};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::{BDRCTL, bdrctl, request};

#[test]
fn erase_deletes_an_archive_or_all_of_an_artist() {
    scenario(async |s| {
        let (one, two) =
            (request(&s, "status = 'ready'").await, request(&s, "user_id = user_id").await);
        let erased = bdrctl(&s, &["--json", "erase", &one.to_string(), "--yes"]).await.json();
        let expected = json!({
            "closed": 1, "erased": 1, "aborted_uploads": 0, "more": false, "errors": null,
        });
        assert_eq!(erased, expected);
        assert!(s.archive(one).await.is_none() && s.archive(two).await.is_some());
        assert_eq!(s.row(two).await["status"], "pending");
        let user = ["erase", "--user", &s.user_sqid, "--yes"];
        let text = bdrctl(&s, &user).await.ok();
        assert_eq!(text.trim(), "Deleted 1 object and aborted 0 uploads. Closed 1 request.");
        let text = bdrctl(&s, &user).await.ok();
        assert_eq!(text.trim(), "Deleted 0 objects and aborted 0 uploads. Closed 0 requests.");
        for bdr_id in [one, two] {
            assert_eq!(s.row(bdr_id).await["status"], "expired");
        }
        let error = bdrctl(&s, &["erase", "--user", "../x", "--yes"]).await.failed();
        assert!(error.contains("1 to 64 letters and digits"), "{error}");
        for wrong in [&["erase"][..], &["erase", &one.to_string(), "--user", "u"]] {
            bdrctl(&s, wrong).await.failed();
        }
    });
}

/// Runs `erase` in a terminal, in which a person types `reply`. Returns whether it succeeded.
async fn erase_in_a_terminal(s: &Scenario, bdr_id: Uuid, reply: &str) -> bool {
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut terminal = tokio::process::Command::new(s.stack.python())
        .args(["-c", spawn, BDRCTL, "erase", &bdr_id.to_string()])
        .env_clear()
        .envs(s.stack.environment())
        .env("AWS_ENDPOINT_URL", s.stack.endpoint())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = terminal.stdin.take().unwrap();
    input.write_all(reply.as_bytes()).await.unwrap();
    let output = terminal.wait_with_output().await.unwrap();
    drop(input);
    let text = String::from_utf8(output.stdout).unwrap();
    let question = format!("Delete the archive of {bdr_id}? No command restores it. [y/N]");
    assert!(text.contains(&question), "{text}");
    output.status.success()
}

#[test]
fn erase_asks_for_confirmation() {
    scenario(async |s| {
        let bdr_id = request(&s, "user_id = user_id").await;
        let error = bdrctl(&s, &["erase", &bdr_id.to_string()]).await.failed();
        assert!(error.contains("add --yes"), "{error}");
        for reply in ["n\n", "\n", "yesterday\n"] {
            assert!(!erase_in_a_terminal(&s, bdr_id, reply).await, "{reply:?}");
        }
        assert!(s.archive(bdr_id).await.is_some());
        assert_eq!(s.row(bdr_id).await["file_path"], Value::Null);
        assert!(erase_in_a_terminal(&s, bdr_id, "y\n").await);
        assert!(s.archive(bdr_id).await.is_none());
    });
}
