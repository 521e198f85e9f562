//! `notify`: the e-mail of a ready request, sent again by the deployed function.

use bdr_tests::{Artwork, scenario};
use serde_json::json;

use super::{FAILED, bdrctl};

#[test]
fn the_email_of_a_ready_request_is_sent_again_on_purpose() {
    scenario(async |s| {
        let posts = [s.artwork(Artwork::default()).await, i32::MAX];
        let bdr_id = s.request(&posts).await;
        let id = bdr_id.to_string();
        s.publish(bdr_id).await;
        s.wait_for(bdr_id, "ready").await;
        let first = s.wait("the first e-mail", async || Ok(s.emails().await.pop())).await;
        let before = s.row(bdr_id).await;

        let text = bdrctl(&s, &["notify", &id]).await.ok();
        assert_eq!(text.trim(), format!("Sent the e-mail about request {id}."));
        let emails = s.emails().await;
        assert_eq!(emails.len(), 2);
        // Only the attempt that wrote the ZIP knows the names of missing artworks.
        let named = |line: &&str| line.starts_with("- ");
        assert_eq!(first.text.lines().filter(named).count(), 1, "{}", first.text);
        let unnamed: Vec<_> = first.text.lines().filter(|line| !named(line)).collect();
        let again = emails.iter().find(|email| email.text != first.text).unwrap();
        assert_eq!(again.subject, first.subject);
        assert_eq!(again.text.lines().collect::<Vec<_>>(), unnamed);
        let answer = bdrctl(&s, &["--json", "notify", &id]).await.json();
        assert_eq!(answer, json!({"status": "ok", "email": "sent"}));
        assert_eq!((s.row(bdr_id).await, s.emails().await.len()), (before, 3));

        s.set(bdr_id, "send_email = false").await;
        let error = bdrctl(&s, &["notify", &id]).await.failed();
        assert!(error.contains("asks for no e-mail"), "{error}");
        for (columns, expected) in [
            ("expires_at = now() - interval '1 hour'", "expired"),
            (FAILED, "is failed"),
            ("status = 'pending'", "is pending"),
        ] {
            s.set(bdr_id, columns).await;
            let error = bdrctl(&s, &["notify", &id]).await.failed();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(s.emails().await.len(), 3);
    });
}

#[test]
fn the_function_rejects_other_events_and_answers_about_rows_that_are_not_ready() {
    scenario(async |s| {
        let bdr_id = s.request(&[1]).await;
        let function = s.stack.output("ProcessBdrJobFunctionName").unwrap();
        let lambda = aws_sdk_lambda::Client::new(&s.aws);
        let invoke = async |event: serde_json::Value| {
            let call = lambda.invoke().function_name(function);
            let response =
                call.payload(event.to_string().into_bytes().into()).send().await.unwrap();
            let body = serde_json::from_slice(response.payload.unwrap().as_ref()).unwrap();
            (response.function_error.is_some(), body)
        };
        let notify = |bdr_id: &str| json!({"notify": {"bdr_id": bdr_id}});
        let pending = invoke(notify(&bdr_id.to_string())).await;
        assert_eq!(pending, (false, json!({"status": "not_ready", "bdr_status": "pending"})));
        let unknown = invoke(notify(&uuid::Uuid::new_v4().to_string())).await;
        assert_eq!(unknown, (false, json!({"status": "not_found"})));
        // A row of which the ZIP is gone.
        let ready = format!(
            "status = 'ready', expires_at = now() + interval '1 day', file_path = '{}'",
            s.archive_key(bdr_id)
        );
        s.set(bdr_id, &ready).await;
        let gone = invoke(notify(&bdr_id.to_string())).await;
        assert_eq!(gone, (false, json!({"status": "expired"})));
        for event in [
            notify("x"),
            json!({"notify": bdr_id}),
            json!({"notify": {"bdr_id": bdr_id}, "Records": []}),
        ] {
            assert!(invoke(event.clone()).await.0, "{event}");
        }
        assert!(s.emails().await.is_empty());
    });
}
