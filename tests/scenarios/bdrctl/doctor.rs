//! `doctor`: a healthy deployment, and broken ones.

use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, Scenario, scenario, scenario_apart};
use serde_json::{Value, json};

use super::{bdrctl, command, ran};
use crate::deploy::deployed_stack::{aws, package};
use crate::deploy::secrets::create_secret;

/// Runs `doctor` and returns its findings, and whether it succeeded.
pub(crate) async fn examine(s: &Scenario, arguments: &[&str]) -> (Vec<Value>, bool) {
    let ran = bdrctl(s, &[arguments, &["--json", "doctor"]].concat()).await;
    let findings = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
    (findings, ran.succeeded)
}

pub(crate) fn of_level<'a>(findings: &'a [Value], level: &str) -> Vec<String> {
    let found = findings.iter().filter(|finding| finding["level"] == level);
    let text = |finding: &'a Value| {
        format!("{}: {}", finding["check"].as_str().unwrap(), finding["found"].as_str().unwrap())
    };
    found.map(text).collect()
}

#[test]
fn a_healthy_stack_has_no_errors_and_one_unchecked_finding() {
    scenario(async |s| {
        let (findings, succeeded) = examine(&s, &[]).await;
        assert_eq!(of_level(&findings, "error"), [""; 0]);
        assert!(succeeded);
        let not_checked = of_level(&findings, "not_checked");
        assert!(
            not_checked.len() == 1
                && not_checked[0].starts_with("e-mail: cannot read whether SES sending is enabled"),
            "the stand-in lacks one API: {not_checked:?}"
        );
        let ok = of_level(&findings, "ok");
        for check in [
            "process-bdr-job: environment is complete",
            "cleanup-expired-bdrs: environment is complete",
            "presign-bdr-download: starts and reads the database",
            "permissions: process-bdr-job has the required permissions",
            "permissions: cleanup-expired-bdrs has the required permissions",
            "permissions: presign-bdr-download has the required permissions",
            "event source: state is Enabled",
            "event source: ReportBatchItemFailures is enabled",
            "queue: visibility timeout is 960 s, the function's timeout is 900 s",
            "queue: maxReceiveCount is 4, MAX_RECEIVE_COUNT is 4",
            "schedules: 2 of 2 cleanup schedules are enabled",
            "vault lifecycle: deletes archives that the cleanup missed",
            "e-mail: the sender is verified",
            "database: has the required tables and columns",
            "database: role makapix_bdr has the required privileges",
        ] {
            assert!(ok.iter().any(|found| found == check), "{check} is not in {ok:#?}");
        }
        // Other scenarios leave requests and messages, and the stack allows the scenarios' web server.
        let known = [
            "dead-letter queue:",
            "requests:",
            "public ids:",
            "process-bdr-job: REMOTE_ALLOW_HOSTS",
            "e-mail: only the address is verified",
            "connections: role makapix_bdr has no connection limit",
        ];
        for warning in of_level(&findings, "warning") {
            assert!(known.iter().any(|known| warning.starts_with(known)), "{warning}");
        }
        let text = bdrctl(&s, &["doctor", "--all"]).await.ok();
        let own = findings.iter().filter(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap();
            let line = format!("{}: {}", text("check"), text("found"));
            !OF_OTHERS.iter().any(|other| line.starts_with(other))
        });
        let lines: usize = own.map(|it| 1 + usize::from(it["advice"].is_string())).sum();
        let printed = without_those_of_others(&text).lines().count();
        assert_eq!(printed, lines + 1, "findings, advice and the summary");
        insta::with_settings!({filters => vec![
            (r"by \d+ s", "by [n] s"), (r"bucket \S+ exists", "bucket [name] exists"),
            (r"\d+ warnings?, 1 not checked, \d+ ok", "[n] warnings, 1 not checked, [n] ok"),
        ]}, { insta::assert_snapshot!("doctor_good", without_those_of_others(&text)) });
    });
}

/// The beginnings of findings that depend on other scenarios, which leave rows and messages.
const OF_OTHERS: [&str; 4] =
    ["dead-letter queue: holds", "dead-letter queue: is empty", "requests: ", "public ids: "];

/// Returns the findings without [`OF_OTHERS`].
fn without_those_of_others(text: &str) -> String {
    let mut is_left_out = false;
    let lines = text.lines().filter(|line| {
        if !line.starts_with("  ") {
            is_left_out = OF_OTHERS.iter().any(|other| line.contains(&format!(": {other}")));
        }
        !is_left_out
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Deploys the template as a new stack and returns the ids of its resources.
async fn deploy(s: &Scenario, stack: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("template.json");
    package(s, &file).await;
    let deploy = ["cloudformation", "deploy", "--stack-name", stack, "--capabilities"];
    let capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND", "--s3-bucket", "artifacts"];
    let template = ["--template-file", file.to_str().unwrap(), "--parameter-overrides"];
    let database = format!("DatabaseUrl={}", s.database_url);
    let parameters = [&database, "EmailFrom=nobody@unverified.example"];
    aws(s, &[&deploy[..], &capabilities, &template, &parameters].concat()).await;
    let describe = ["cloudformation", "describe-stack-resources", "--stack-name", stack];
    let resources = aws(s, &describe).await;
    let resources = resources["StackResources"].as_array().unwrap().iter();
    resources
        .map(|r| (r["LogicalResourceId"].as_str().unwrap(), r["PhysicalResourceId"].clone()))
        .collect()
}

#[test]
fn every_broken_setting_is_found() {
    scenario(async |s| {
        let stack = unique("broken-");
        let ids = deploy(&s, &stack).await;
        let id = |name: &str| ids[name].as_str().unwrap();
        let aws = async |arguments: &[&str]| aws(&s, arguments).await;

        // The stand-in's CloudFormation does not create the lifecycle.
        let show = ["s3api", "get-bucket-lifecycle-configuration", "--bucket", s.bucket()];
        let lifecycle = json!({"Rules": aws(&show).await["Rules"]}).to_string();
        let put = ["s3api", "put-bucket-lifecycle-configuration", "--bucket", id("VaultBucket")];
        aws(&[&put[..], &["--lifecycle-configuration", &lifecycle]].concat()).await;
        let (findings, _) = examine(&s, &["--stack", &stack]).await;
        let errors = of_level(&findings, "error");
        let unverified = "e-mail: the sender is not verified in this region";
        assert!(errors.len() == 1 && errors[0].starts_with(unverified), "{errors:#?}");

        let redrive = json!({
            "deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:000000000000:{stack}-requests-dead"),
            "maxReceiveCount": "7",
        });
        let attributes = json!({"VisibilityTimeout": "60", "RedrivePolicy": redrive.to_string()});
        let set = ["sqs", "set-queue-attributes", "--queue-url", id("BdrQueue"), "--attributes"];
        aws(&[&set[..], &[&attributes.to_string()]].concat()).await;
        let set = ["--queue-url", id("BdrDeadLetterQueue"), "--attributes"];
        let shorter = [r#"{"MessageRetentionPeriod":"3600"}"#];
        aws(&[&["sqs", "set-queue-attributes"][..], &set, &shorter].concat()).await;
        let dead = id("BdrDeadLetterQueue");
        s.sqs.send_message().queue_url(dead).message_body("x").send().await.unwrap();

        let function = ["--function-name", id("ProcessBdrJobFunction")];
        let list = ["lambda", "list-event-source-mappings"];
        let source = &aws(&[&list[..], &function].concat()).await["EventSourceMappings"][0];
        let uuid = source["UUID"].as_str().unwrap();
        let update = ["lambda", "update-event-source-mapping", "--uuid", uuid, "--no-enabled"];
        aws(&[&update[..], &["--cli-input-json", r#"{"FunctionResponseTypes": []}"#]].concat())
            .await;
        let environment = json!({"Variables": {
            "DATABASE_URL": s.database_url, "BDR_QUEUE_URL": "http://elsewhere/queue",
            "BASE_URL": "https://makapix.club", "MAX_RECEIVE_COUNT": "4", "LEASE_SECONDS": "120",
            "EMAIL_FROM": "nobody@unverified.example", "EXPIRES_AFTER_DAYS": "7",
        }});
        let update = ["lambda", "update-function-configuration", "--environment"];
        aws(&[&update[..], &[&environment.to_string()], &function].concat()).await;

        let role = id("ProcessBdrJobRole");
        let delete = ["iam", "delete-role-policy", "--role-name", role, "--policy-name", "queue"];
        aws(&delete).await;
        let delete = ["s3api", "delete-bucket-lifecycle", "--bucket", id("VaultBucket")];
        aws(&delete).await;
        let delete =
            ["scheduler", "delete-schedule", "--name", id("CleanupExpiredBdrsFunctionHourly")];
        aws(&delete).await;

        let (findings, succeeded) = examine(&s, &["--stack", &stack]).await;
        assert!(!succeeded);
        let errors = of_level(&findings, "error");
        for expected in [
            "process-bdr-job: environment lacks VAULT_BUCKET",
            "process-bdr-job: BDR_QUEUE_URL is http://elsewhere/queue, not ",
            "permissions: process-bdr-job lacks sqs:ReceiveMessage arn:aws:sqs:",
            "event source: state is Disabled",
            "event source: ReportBatchItemFailures is not enabled",
            "queue: visibility timeout is 60 s, the function's timeout is 900 s",
            "queue: maxReceiveCount is 7, MAX_RECEIVE_COUNT is 4",
            "dead-letter queue: retention is 0 days, the queue's is 4 days",
            "schedules: 1 of 2 cleanup schedules are enabled",
            "vault lifecycle: does not abort incomplete multipart uploads",
            "vault lifecycle: does not delete archives that the cleanup missed",
            unverified,
        ] {
            assert!(
                errors.iter().any(|error| error.starts_with(expected)),
                "{expected} is not in {errors:#?}"
            );
        }
        assert_eq!(errors.len(), 12, "no other errors: {errors:#?}");
        let warnings = of_level(&findings, "warning");
        assert!(warnings.contains(&"dead-letter queue: holds 1 message".to_owned()));
        let advised = findings.iter().filter(|finding| finding["level"] != "ok");
        assert!(advised.clone().all(|finding| finding["advice"].is_string()));

        let text = bdrctl(&s, &["--stack", &stack, "doctor"]).await;
        insta::with_settings!({filters => vec![
            (stack.as_str(), "[stack]"), (r"http://[0-9.:]+/\d+/", "http://[host]/"),
            (r":\d{12}:", ":[account]:"), (r"\d+ ok", "[n] ok"),
            (r"\d+ warnings?, 1 not", "[n] warnings, 1 not"),
        ]}, { insta::assert_snapshot!("doctor_bad", without_those_of_others(&text.out)) });
        assert_eq!(text.status, Some(1));
        let mut coloured = command(&s, s.stack.endpoint(), &["--stack", &stack, "doctor"]);
        let coloured = coloured.env("CLICOLOR_FORCE", "1").output().await.unwrap();
        let coloured = String::from_utf8(coloured.stdout).unwrap();
        assert!(coloured.contains("\u{1b}[31m") && !text.out.contains('\u{1b}'), "{coloured}");
    });
}

#[test]
fn missing_columns_and_privileges_are_found() {
    scenario_apart(async |s| {
        let broken = "REVOKE UPDATE (status) ON batch_download_requests FROM makapix_bdr;
                      ALTER TABLE posts DROP COLUMN frame_count;
                      DROP TABLE reactions";
        s.database.batch_execute(broken).await.unwrap();
        let (server, _) = s.stack.admin_database_url().rsplit_once('/').unwrap();
        let url = format!("{server}/{}", s.bucket);
        let (findings, succeeded) = examine(&s, &["--database-url", &url]).await;
        assert!(!succeeded);
        assert_eq!(
            of_level(&findings, "error"),
            [
                "database: lacks posts.frame_count, reactions.post_id, reactions.emoji",
                "database: role makapix_bdr lacks UPDATE batch_download_requests.status",
            ]
        );
    });
}

#[test]
fn database_host_supplies_the_host_of_a_secret() {
    scenario(async |s| {
        let config: tokio_postgres::Config = s.database_url.parse().unwrap();
        let password = String::from_utf8(config.get_password().unwrap().to_vec()).unwrap();
        let secret = json!({
            "port": config.get_ports()[0], "dbname": config.get_dbname(), "sslmode": "disable",
            "username": config.get_user(), "password": password,
        });
        let arn = create_secret(&s, &secret.to_string()).await;
        let run = async |host: Option<&str>| {
            let mut command = command(&s, s.stack.endpoint(), &["status"]);
            command.env_remove("DATABASE_URL").env("DATABASE_SECRET_ARN", &arn);
            if let Some(host) = host {
                command.env("DATABASE_HOST", host);
            }
            ran(&s, &["status"], command.output().await.unwrap())
        };
        run(Some("127.0.0.1")).await.ok();
        let error = run(None).await.failed();
        assert!(error.contains("DATABASE_HOST"), "{error}");
    });
}

#[test]
fn missing_public_ids_are_found_before_a_request_fails() {
    scenario_apart(async |s| {
        let (server, _) = s.stack.admin_database_url().rsplit_once('/').unwrap();
        let url = format!("{server}/{}", s.bucket);
        let public_ids = async || {
            let (findings, _) = examine(&s, &["--database-url", &url]).await;
            let mut found = findings.into_iter().filter(|finding| finding["check"] == "public ids");
            let finding = found.next().expect("a finding");
            (finding["level"].clone(), finding["found"].as_str().unwrap().to_owned())
        };
        let every = "every user and every post has one".to_owned();
        assert_eq!(public_ids().await, (json!("ok"), every));
        s.artwork(Artwork { sqid: None, ..Artwork::default() }).await;
        let (level, found) = public_ids().await;
        assert!(level == "warning" && found.starts_with("posts have no public_sqid"), "{found}");
        let user = "UPDATE users SET public_sqid = '' WHERE id = $1";
        s.database.execute(user, &[&s.user_id]).await.unwrap();
        let (level, found) = public_ids().await;
        assert!(level == "warning" && found.starts_with("users and posts have no"), "{found}");
    });
}

#[test]
fn an_unreachable_deployment_has_no_ok_findings() {
    scenario(async |s| {
        let nowhere = "postgresql://nobody:nothing@127.0.0.1:1/none";
        let arguments = ["--stack", "no-such-stack", "--database-url", nowhere];
        let (findings, succeeded) = examine(&s, &arguments).await;
        assert!(!succeeded && of_level(&findings, "error").len() == 1, "the stack");
        assert_eq!(of_level(&findings, "ok"), [""; 0]);
        assert!(of_level(&findings, "not_checked").len() >= 8);
        let text = bdrctl(&s, &[&arguments[..], &["doctor"]].concat()).await;
        insta::assert_snapshot!("doctor_without_stack", text.out);
        assert_eq!(text.status, Some(1));
        let unknown = "00000000-0000-0000-0000-000000000000";
        let error = bdrctl(&s, &["--stack", "no-such-stack", "link", unknown]).await.failed();
        assert!(error.contains(&format!("request {unknown} not found")), "{error}");
    });
}
