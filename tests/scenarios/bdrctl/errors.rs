//! Errors: messages for people, JSON and exit statuses for scripts.

use std::process::Command as Process;

use bdr_tests::{Scenario, scenario};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BDRCTL, FAILED, Ran, bdrctl, command, ran, request};

/// Returns standard error and the exit status of a command line that is not valid.
fn rejected(arguments: &[&str]) -> String {
    let output = Process::new(BDRCTL).args(arguments).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn errors_of_the_command_line_are_as_reviewed() {
    insta::assert_snapshot!("submit_without_arguments", rejected(&["submit"]));
    insta::assert_snapshot!("malformed_request_id", rejected(&["link", "4711"]));
    let error: Value = serde_json::from_str(&rejected(&["--json", "link", "4711"])).unwrap();
    assert_eq!((&error["code"], &error["causes"]), (&json!("usage"), &json!([])));
    assert!(error["error"].as_str().unwrap().contains("'4711'"), "{error}");
}

#[test]
fn a_separator_before_the_command_is_ignored() {
    let help = |arguments: &[&str]| Process::new(BDRCTL).args(arguments).output().unwrap();
    let (direct, through_cargo) = (help(&["--help"]), help(&["--", "--help"]));
    assert!(direct.status.success() && through_cargo.status.success());
    assert_eq!(direct.stdout, through_cargo.stdout);
}

/// Runs the tool without credentials.
async fn without_credentials(s: &Scenario, arguments: &[&str]) -> Ran {
    let mut command = command(s, s.stack.endpoint(), arguments);
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(variable);
    }
    let output = command.env("AWS_EC2_METADATA_DISABLED", "true").output().await.unwrap();
    ran(s, arguments, output)
}

#[test]
fn each_kind_of_error_has_an_exit_status_and_a_code() {
    scenario(async |s| {
        let id = request(&s, FAILED).await.to_string();
        let unknown = Uuid::new_v4().to_string();
        let user = s.user_id.to_string();
        let nowhere = format!("{}/000000000000/nowhere", s.stack.endpoint());
        let role = s.database_url.clone();
        let cases: [(&[&str], i32, &str); 6] = [
            (&["link", &id], 1, "failed"),
            (&["status", &unknown], 3, "not_found"),
            (&["--stack", "nosuch", "link", &id], 3, "not_found"),
            (&["--presign-function", "nosuch", "link", &id], 3, "not_found"),
            (&["--dead-letter-queue-url", &nowhere, "redrive"], 3, "not_found"),
            (&["--database-url", &role, "submit", "--user", &user, "--posts", "1"], 4, "access"),
        ];
        let check = |ran: Ran, status: i32, code: &str| {
            assert_eq!(ran.status, Some(status), "{}", ran.err);
            let error: Value = serde_json::from_str(ran.err.trim()).unwrap();
            assert_eq!(error["code"], code, "{error}");
            assert!(error["error"].is_string() && error["causes"].is_array(), "{error}");
            error
        };
        for (arguments, status, code) in cases {
            let arguments = [&["--json"], arguments].concat();
            check(bdrctl(&s, &arguments).await, status, code);
        }
        let arguments = ["--json", "link", &id];
        check(without_credentials(&s, &arguments).await, 4, "access");

        let error = bdrctl(&s, &["--json", "--stack", "nosuch", "link", &id]).await;
        let error = check(error, 3, "not_found");
        assert_eq!(error["error"], r#"no stack "nosuch" in us-east-1"#);
        assert!(error["advice"].as_str().unwrap().starts_with("Check --stack"), "{error}");
    });
}

#[test]
fn an_empty_list_is_mentioned_and_is_valid_json() {
    scenario(async |s| {
        let none = ["status", "--state", "expired", "--older-than", "900days"];
        let text = bdrctl(&s, &none).await;
        assert_eq!((text.out.as_str(), text.err.as_str()), ("No request matches.\n", ""));
        let json = bdrctl(&s, &[&["--json"], &none[..]].concat()).await;
        assert_eq!((json.out.as_str(), json.err.as_str()), ("[]\n", "No request matches.\n"));
    });
}
