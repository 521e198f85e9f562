//! `doctor` and `log` of a stack with a canary.

use bdr_tests::{Artwork, Scenario, scenario_apart};
use serde_json::Value;

use super::bdrctl;
use super::doctor::examine;
use crate::deploy::canary::{an_hour_later, parameters};
use crate::deploy::deployed_stack::{aws, lambda};
use crate::deploy::stack_life::Stack;

/// Returns the level and the text of each finding about the canary, without the time of a run.
async fn findings(s: &Scenario, stack: &str) -> Vec<(String, String)> {
    let (findings, _) = examine(s, &["--stack", stack]).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let found = findings.iter().filter(|finding| finding["check"] == "canary");
    let found = found.map(|finding| (text(&finding["level"]), text(&finding["found"])));
    let without_time = |(level, found): (String, String)| match found.split_once(" at ") {
        Some((run, rest)) => (level, format!("{run}{}", &rest["2026-11-29 16:27:16Z".len()..])),
        None => (level, found),
    };
    found.map(without_time).collect()
}

fn owned(findings: &[(&str, &str)]) -> Vec<(String, String)> {
    findings.iter().map(|(level, found)| ((*level).to_owned(), (*found).to_owned())).collect()
}

#[test]
fn the_doctor_checks_a_canary_and_the_log_has_its_lines() {
    scenario_apart(async |s| {
        let bdr_id = s.request(&[s.artwork(Artwork::default()).await]).await;
        s.set(bdr_id, "send_email = false").await;
        let stack = Stack::packaged(&s).await;
        let parameters = parameters(&s, bdr_id);
        stack.deploy(&parameters.each_ref().map(String::as_str)).await;
        let outputs = stack.outputs().await;
        let function = &outputs["RunCanaryFunctionName"];
        let run = async || {
            let invoke = lambda(&s).invoke().function_name(function);
            invoke.payload(b"{}".to_vec().into()).send().await.unwrap();
        };
        let enabled = ("ok", "its schedule is enabled");
        let is = |status: &str| {
            format!("request {bdr_id} of user {} with 1 artwork is {status}", s.user_id)
        };

        let never = ("warning", "did not run in the last 2 hours");
        let expected = owned(&[enabled, ("ok", &is("pending")), never]);
        assert_eq!(findings(&s, &stack.name).await, expected);
        let (all, _) = examine(&s, &["--stack", &stack.name]).await;
        let ok = super::doctor::of_level(&all, "ok");
        for check in [
            "run-canary: state is Active",
            "run-canary: environment is complete",
            "permissions: run-canary has the required permissions",
        ] {
            assert!(ok.iter().any(|found| found == check), "{check} is not in {ok:#?}");
        }

        run().await;
        let failed = ("error", "the run failed: the request is still pending");
        let expected = owned(&[enabled, ("ok", &is("pending")), failed]);
        s.wait("the line of the run", async || {
            Ok((findings(&s, &stack.name).await == expected).then_some(()))
        })
        .await;
        let id = bdr_id.to_string();
        let log = bdrctl(&s, &["--stack", &stack.name, "log", &id]).await.ok();
        let line =
            "ERROR  run-canary: canary ended (result=failed, reason=the request is still pending)";
        assert!(log.contains(line), "{log}");

        local_stack::seed::publish(&s.sqs, &outputs["QueueUrl"], bdr_id).await.unwrap();
        s.wait_for(bdr_id, "ready").await;
        an_hour_later(&s, bdr_id).await;
        run().await;
        s.wait_for(bdr_id, "ready").await;
        let succeeded = ("ok", "the run succeeded");
        let expected = owned(&[enabled, ("ok", &is("ready")), succeeded]);
        s.wait("the line of the run", async || {
            Ok((findings(&s, &stack.name).await == expected).then_some(()))
        })
        .await;

        let schedules = aws(&s, &["scheduler", "list-schedules"]).await;
        let schedules = schedules["Schedules"].as_array().unwrap().iter();
        let arn = format!(":function:{function}");
        let mut own = schedules.filter(|it| it["Target"]["Arn"].as_str().unwrap().ends_with(&arn));
        let schedule = own.next().unwrap()["Name"].as_str().unwrap();
        aws(&s, &["scheduler", "delete-schedule", "--name", schedule]).await;
        s.set(bdr_id, "status = 'failed'").await;
        let none = ("error", "its schedule is not enabled");
        let expected = owned(&[none, ("warning", &is("failed")), succeeded]);
        assert_eq!(findings(&s, &stack.name).await, expected);
        s.set(bdr_id, "status = 'expired'").await;
        assert_eq!(findings(&s, &stack.name).await[1], owned(&[("error", &is("expired"))])[0]);
        s.database.execute("DELETE FROM batch_download_requests", &[]).await.unwrap();
        let absent = format!("request {bdr_id} does not exist");
        assert_eq!(findings(&s, &stack.name).await[1], owned(&[("error", &absent)])[0]);
        stack.delete().await;
    });
}
