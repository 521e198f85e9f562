//! The operator's policy allows exactly the calls that `bdrctl` makes.

use std::sync::Arc;

use bdr_tests::proxy::HttpProxy;
use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, Scenario, scenario_apart};
use serde_json::json;
use uuid::Uuid;

use super::deployed_stack::aws;
use super::iam::{needs, needs_of_key};
use super::permissions::{Deployed, unused};
use crate::bdrctl::{FAILED, command, exports, ran, request};
use crate::deploy::secrets::create_secret;
use crate::process::large_exports;

/// The tool, with every resource from the outputs of a stack and through a proxy that records its calls.
struct Tool<'a> {
    s: &'a Scenario,
    recorder: &'a HttpProxy,
    stack: &'a str,
}

impl Tool<'_> {
    /// Runs a command. Returns its standard output.
    async fn run(&self, arguments: &[&str]) -> String {
        let arguments = [&["--stack", self.stack], arguments].concat();
        let mut command = command(self.s, &self.recorder.endpoint(), &arguments);
        // The database comes from the functions' secret, as it does for most operators.
        command.env_remove("DATABASE_URL");
        let ran = ran(self.s, &arguments, command.output().await.unwrap());
        println!("{arguments:?}: {:?} {}", ran.status, ran.err);
        ran.out
    }
}

#[test]
fn the_operators_policy_allows_exactly_what_the_tool_calls() {
    scenario_apart(async |s| {
        let secret = create_secret(&s, &json!({ "url": s.database_url }).to_string()).await;
        // Of a verified domain the tool reads one thing more.
        let domain = format!("{}.example", unique("d"));
        let ses = aws_sdk_ses::Client::new(&s.stack.sdk_config());
        ses.verify_domain_identity().domain(&domain).send().await.unwrap();
        let sender = format!("no-reply@{domain}");
        let deployed = Deployed::with_everything(&s, &secret, &sender).await;
        let recorder = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let tool = Tool { s: &s, recorder: &recorder, stack: &deployed.stack };
        use_every_command(&s, &tool, &deployed).await;

        let grants = deployed.grants_of_policy(&s, "OperatorPolicy").await;
        let needed = recorder.exchanges();
        let needed = needed
            .iter()
            .flat_map(|call| needs(call).into_iter().chain(needs_of_key(call, deployed.key())));
        let needed: Vec<_> = needed.collect();
        let unused = unused("OperatorPolicy", &grants, &needed);
        assert!(unused.is_empty(), "OperatorPolicy allows unused actions: {unused:#?}");
    });
}

/// Lets the tool take every path that calls AWS.
async fn use_every_command(s: &Scenario, tool: &Tool<'_>, deployed: &Deployed) {
    let post = s.artwork(Artwork::default()).await;
    let id = s.request(&[post]).await.to_string();
    tool.run(&["submit", &id]).await;
    s.wait_for(id.parse().unwrap(), "ready").await;
    assert!(tool.run(&["watch", &id]).await.contains("ready"));
    assert!(tool.run(&["link", &id]).await.starts_with("http"));
    assert!(tool.run(&["notify", &id]).await.contains("Sent the e-mail"));
    tool.run(&["log", &id]).await;
    assert!(tool.run(&["erase", &id, "--yes"]).await.contains("Deleted 1 object"));
    assert!(tool.run(&["cleanup", "--only", "expire"]).await.contains("expired"));

    resume_an_export(s, tool, deployed).await;
    let failed = request(s, FAILED).await.to_string();
    assert!(tool.run(&["retry", &failed]).await.contains("Reopened and published"));
    let dead = &deployed.resources["BdrDeadLetterQueue"];
    for body in [Scenario::message(request(s, FAILED).await), Scenario::message(Uuid::nil())] {
        s.sqs.send_message().queue_url(dead).message_body(body).send().await.unwrap();
    }
    assert!(tool.run(&["redrive"]).await.contains("would be retried"));
    assert!(tool.run(&["redrive", "--yes"]).await.contains("left"));
    assert!(tool.run(&["redrive", "--discard", "--yes"]).await.contains("deleted"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("samconfig.toml");
    let stack = &deployed.stack;
    std::fs::write(&file, format!("[prod.deploy.parameters]\nstack_name = '{stack}'")).unwrap();
    let file = file.to_str().unwrap();
    let findings = tool.run(&["doctor", "--all", "--samconfig", file]).await;
    assert!(findings.contains("SAM sends the previous value"), "{findings}");
    assert!(findings.contains("sign the e-mails with DKIM"), "{findings}");
    for of_canary in ["is enabled", "does not exist", "did not run"] {
        let found = findings.lines().any(|it| it.contains("canary: ") && it.contains(of_canary));
        assert!(found, "{of_canary} is not in {findings}");
    }
}

/// Lets the tool look at an export whose execution was stopped, and resume it.
async fn resume_an_export(s: &Scenario, tool: &Tool<'_>, deployed: &Deployed) {
    let export = large_exports::request(s, 12, 600_000).await;
    let idle = large_exports::idle_state_machine(s).await;
    let input = large_exports::begin(s, export, 1_200_000, &idle).await;
    let (posts, restored) = exports::make_unreadable(s, &input).await;
    let state_machine = &deployed.resources["ExportStateMachine"];
    let execution = large_exports::start(s, state_machine, &input).await;
    aws(s, &["stepfunctions", "stop-execution", "--execution-arn", &execution]).await;
    s.put(&posts, &restored).await;
    let id = export.to_string();
    assert!(tool.run(&["status", &id]).await.contains("its execution has ended"));
    // The invocations of the stopped execution have ended.
    let (later, database) = (exports::later(s).await, s.admin_database_url());
    let (_, database) = database.rsplit_once('/').unwrap();
    let database = database.split('?').next().unwrap();
    let (_, path) = later.split_once("search_path%3D").unwrap();
    let path = path.replace("%2C", ", ");
    let set = format!("ALTER DATABASE {database} SET search_path = {path}");
    s.database.batch_execute(&set).await.unwrap();
    assert!(tool.run(&["retry", &id]).await.contains("Resumed the export"));
    let reset = format!("ALTER DATABASE {database} RESET search_path");
    s.database.batch_execute(&reset).await.unwrap();
}
