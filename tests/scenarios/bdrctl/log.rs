//! `log`: lines of the deployed functions.

use bdr_tests::scenario;
use serde_json::Value;

use super::bdrctl;

#[test]
fn the_log_of_a_failed_request_shows_its_cause_in_order() {
    scenario(async |s| {
        let bdr_id = s.request(&[i32::MAX]).await;
        let id = bdr_id.to_string();
        s.publish(bdr_id).await;
        s.wait_for(bdr_id, "failed").await;
        // Lambda writes the lines when the invocation has ended.
        let text = s.wait("the outcome line", async || {
            let text = bdrctl(&s, &["log", &id]).await.ok();
            Ok(text.contains("result=failed").then_some(text))
        });
        let text = text.await;
        insta::with_settings!({filters => vec![
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "[time]"), (r"_ms=\d+", "_ms=[n]"),
            (r"gb_seconds=[0-9.e-]+", "gb_seconds=[n]"),
        ]}, { insta::assert_snapshot!("log", text) });

        let json = bdrctl(&s, &["--json", "log", &id, "--since", "1h"]).await.ok();
        let lines = json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<_> = lines.collect();
        assert!(lines.iter().all(|line| line["function"] == "process-bdr-job"), "{json}");
        assert!(lines.iter().all(|line| line["event"]["bdr_id"] == id), "{json}");
        assert!(lines.iter().all(|line| line["event"].get("_aws").is_none()), "{json}");
        let last = lines.last().unwrap();
        assert_eq!(last["event"]["result"], "failed");
        assert!(last["event"]["error"].as_str().unwrap().contains("no posts found"), "{last}");
    });
}

#[test]
fn a_request_that_no_function_has_logged_is_mentioned() {
    scenario(async |s| {
        let id = s.request(&[1]).await.to_string();
        let none = format!("No line about request {id} in the logs of the last 14days.\n");
        assert_eq!(bdrctl(&s, &["log", &id]).await.ok(), none);
        let json = bdrctl(&s, &["--json", "log", &id]).await;
        assert_eq!((json.out.as_str(), json.err), ("[]\n", none));
    });
}
