//! `doctor`: addresses on the suppression list of SES.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::RawQuery;
use axum::routing::get;
use bdr_tests::{Scenario, scenario};
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};

use super::doctor::of_level;
use super::{command, ran};

/// Returns the findings about suppressed addresses of a run with the suppression list at `endpoint`.
async fn examine(s: &Scenario, endpoint: &str) -> Vec<Value> {
    let arguments = ["--json", "doctor"];
    let mut command = command(s, s.stack.endpoint(), &arguments);
    command.env("AWS_ENDPOINT_URL_SESV2", endpoint);
    let findings = ran(s, &arguments, command.output().await.unwrap()).out;
    let findings: Vec<Value> = serde_json::from_str(&findings).unwrap();
    findings.into_iter().filter(|it| it["check"] == "suppressed addresses").collect()
}

#[test]
fn recently_suppressed_addresses_are_counted_by_reason_and_not_printed() {
    scenario(async |s| {
        let address = s.email.clone();
        let queries: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&queries);
        // A list of two pages. The stand-in's is always empty.
        let list = move |RawQuery(query): RawQuery| {
            let query = query.unwrap_or_default();
            let is_last = query.contains("NextToken=next");
            seen.lock().unwrap().push(query);
            let entry = |reason: &str| json!({"EmailAddress": address, "Reason": reason, "LastUpdateTime": 1_796_000_000});
            let page = if is_last {
                json!({"SuppressedDestinationSummaries": [entry("COMPLAINT")]})
            } else {
                json!({
                    "SuppressedDestinationSummaries": [entry("BOUNCE"), entry("BOUNCE")],
                    "NextToken": "next",
                })
            };
            async move { axum::Json(page) }
        };
        let routes = Router::new().route("/v2/email/suppression/addresses", get(list));
        let ses = RemoteHost::with_routes(routes).unwrap();
        let found = examine(&s, ses.url("").trim_end_matches('/')).await;
        assert_eq!(
            of_level(&found, "warning"),
            [
                "suppressed addresses: SES suppressed 3 in the last 14 days (bounces: 2, complaints: 1), and \
              sends them no e-mail"
            ]
        );
        assert!(!json!(found).to_string().contains('@'));
        let queries = queries.lock().unwrap();
        assert_eq!(queries.len(), 2);
        assert!(queries.iter().all(|query| query.contains("StartDate=")), "{queries:?}");
    });
}

#[test]
fn an_empty_list_is_ok_and_a_denied_one_not_checked() {
    scenario(async |s| {
        let found = examine(&s, s.stack.endpoint()).await;
        let none = "suppressed addresses: SES suppressed none in the last 14 days";
        assert_eq!(of_level(&found, "ok"), [none]);
        let refuse = async || {
            let error = json!({"__type": "AccessDeniedException", "message": "not allowed"});
            (axum::http::StatusCode::FORBIDDEN, axum::Json(error))
        };
        let denied = Router::new().route("/v2/email/suppression/addresses", get(refuse));
        let denied = RemoteHost::with_routes(denied).unwrap();
        let found = examine(&s, denied.url("").trim_end_matches('/')).await;
        assert_eq!(of_level(&found, "not_checked").len(), 1, "{found:?}");
        assert_eq!(found[0]["advice"], "To check it, allow ses:ListSuppressedDestinations.");
    });
}
