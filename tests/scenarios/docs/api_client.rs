//! The client snippets of `docs/api.md`, run as the page prints them.

use bdr_tests::doc_commands;
use bdr_tests::{Artwork, Scenario, scenario};
use local_stack::http;
use uuid::Uuid;

use super::pages::API;

async fn publish(
    sqs: &aws_sdk_sqs::Client,
    queue_url: &str,
    bdr_id: uuid::Uuid,
    user_id: i64,
) -> Result<(), Box<dyn std::error::Error>> {
    let body = serde_json::json!({ "bdr_id": bdr_id }).to_string();
    let send = sqs.send_message().queue_url(queue_url).message_body(body);
    send.message_group_id(user_id.to_string()).send().await?;
    Ok(())
}

async fn download_url(
    lambda: &aws_sdk_lambda::Client,
    function: &str,
    bdr_id: uuid::Uuid,
    user_id: i64,
) -> Result<(u16, serde_json::Value), Box<dyn std::error::Error>> {
    let payload = serde_json::json!({ "bdr_id": bdr_id, "user_id": user_id }).to_string();
    let invoke = lambda.invoke().function_name(function).payload(payload.into_bytes().into());
    let answer = invoke.send().await?;
    let body = answer.payload.map(aws_sdk_lambda::primitives::Blob::into_inner).unwrap_or_default();
    if answer.function_error.is_some() {
        return Err(String::from_utf8_lossy(&body).into());
    }
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    let status = match answer["status"].as_str() {
        Some("ok") => 200,
        Some("not_ready") => 409,
        Some("expired") => 410,
        _ => 404,
    };
    Ok((status, answer))
}

async fn erase_user(
    lambda: &aws_sdk_lambda::Client,
    function: &str,
    user_sqid: &str,
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let event = serde_json::json!({ "erase": { "user_sqid": user_sqid } }).to_string();
    let invoke = lambda.invoke().function_name(function).payload(event.into_bytes().into());
    let answer = invoke.send().await?;
    let body = answer.payload.map(aws_sdk_lambda::primitives::Blob::into_inner).unwrap_or_default();
    if answer.function_error.is_some() {
        return Err(String::from_utf8_lossy(&body).into());
    }
    Ok(serde_json::from_slice(&body)?)
}

/// The snippets of a language: one that publishes, one that returns a download URL, and one that erases.
pub(super) fn snippets(language: &str) -> [&'static str; 3] {
    ["## Publish a request", "## Offer the download", "## Erase archives"].map(|heading| {
        let blocks = doc_commands::blocks(API.text, heading, language);
        assert_eq!(blocks.len(), 1, "{heading}");
        blocks[0]
    })
}

/// Runs the Python snippets, then these lines.
async fn python(s: &Scenario, lines: &str) -> Result<String, String> {
    doc_commands::python(s, &format!("{}\n{lines}", snippets("python").concat())).await
}

/// Asserts that the URL serves the ZIP of this request.
async fn assert_downloads(s: &Scenario, url: &str, bdr_id: Uuid) {
    let answer = http::client().unwrap().get(url).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), s.archive(bdr_id).await.unwrap().bytes);
}

#[test]
fn the_python_client_publishes_and_downloads() {
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let function = s.stack.output("PresignBdrDownloadFunctionName").unwrap();
        let ask = async |user_id: &str| {
            let ask = format!("status, answer = download_url('{function}', '{bdr_id}', {user_id})");
            python(&s, &format!("{ask}\nprint(status, answer.get('url'))")).await
        };
        let user_id = s.user_id.to_string();
        assert_eq!(ask(&user_id).await.unwrap(), "409 None", "the request is not ready");
        assert_eq!(ask("0").await.unwrap(), "404 None", "the request of another user");
        let queue = s.stack.queue_url().unwrap();
        python(&s, &format!("publish('{queue}', '{bdr_id}', {user_id})")).await.unwrap();
        s.wait_for(bdr_id, "ready").await;
        let printed = ask(&user_id).await.unwrap();
        assert_downloads(&s, printed.strip_prefix("200 ").unwrap(), bdr_id).await;
        // Not by `expires_at`: the cleanup of another scenario would delete the ZIP.
        s.set(bdr_id, "status = 'expired'").await;
        assert_eq!(ask(&user_id).await.unwrap(), "410 None");
        s.set(bdr_id, "status = 'ready'").await;
        let error = ask("'me'").await.unwrap_err();
        assert!(error.contains("RuntimeError") && error.contains("the payload must be"), "{error}");

        let cleanup = s.stack.output("CleanupExpiredBdrsFunctionName").unwrap();
        let erase = async |user_sqid: &str| {
            python(&s, &format!("print(erase_user('{cleanup}', '{user_sqid}')['erased'])")).await
        };
        assert_eq!(erase(&s.user_sqid).await.unwrap(), "1");
        assert_eq!(erase(&s.user_sqid).await.unwrap(), "0", "the second time");
        assert!(s.archive(bdr_id).await.is_none());
        let error = erase("../").await.unwrap_err();
        assert!(error.contains("RuntimeError") && error.contains("invalid event"), "{error}");
    });
}

#[test]
fn the_rust_client_publishes_and_downloads() {
    for block in snippets("rust") {
        assert!(
            include_str!("api_client.rs").contains(block),
            "this test runs other code:\n{block}"
        );
    }
    scenario(async |s| {
        let post = s.artwork(Artwork::default()).await;
        let bdr_id = s.request(&[post]).await;
        let function = s.stack.output("PresignBdrDownloadFunctionName").unwrap();
        let lambda = aws_sdk_lambda::Client::new(&s.aws);
        let ask =
            async |user_id: i32| download_url(&lambda, function, bdr_id, user_id.into()).await;
        assert_eq!(ask(s.user_id).await.unwrap().0, 409, "the request is not ready");
        assert_eq!(ask(0).await.unwrap().0, 404, "the request of another user");
        publish(&s.sqs, s.stack.queue_url().unwrap(), bdr_id, s.user_id.into()).await.unwrap();
        s.wait_for(bdr_id, "ready").await;
        let (status, answer) = ask(s.user_id).await.unwrap();
        assert_eq!(status, 200);
        assert_downloads(&s, answer["url"].as_str().unwrap(), bdr_id).await;
        // Not by `expires_at`: the cleanup of another scenario would delete the ZIP.
        s.set(bdr_id, "status = 'expired'").await;
        assert_eq!(ask(s.user_id).await.unwrap().0, 410);
        // A malformed row.
        s.set(bdr_id, "status = 'ready', file_path = 'elsewhere.zip'").await;
        let error = ask(s.user_id).await.unwrap_err().to_string();
        assert!(error.contains("errorMessage"), "{error}");

        let cleanup = s.stack.output("CleanupExpiredBdrsFunctionName").unwrap();
        for (sqid, erased) in [(&*s.user_sqid, 1), (&*s.user_sqid, 0), ("nobody", 0)] {
            assert_eq!(erase_user(&lambda, cleanup, sqid).await.unwrap()["erased"], erased);
        }
        assert!(s.archive(bdr_id).await.is_none());
        let error = erase_user(&lambda, cleanup, "").await.unwrap_err().to_string();
        assert!(error.contains("errorMessage"), "{error}");
    });
}

#[test]
fn the_page_of_the_local_stack_downloads_with_the_printed_code() {
    // The scenarios of presign-bdr-download run the page in a browser.
    let page = include_str!("../../../infra/local-stack/src/site/page.html");
    for block in doc_commands::blocks(API.text, "### Download with fetch", "js") {
        assert!(page.contains(block), "the page runs other code:\n{block}");
    }
}

#[test]
fn the_printed_insert_makes_a_request() {
    scenario(async |s| {
        let posts = vec![s.artwork(Artwork::default()).await];
        let bdr_id = Uuid::new_v4();
        let insert = doc_commands::blocks(API.text, "## Insert a request", "sql")[0];
        s.database.execute(insert, &[&bdr_id, &s.user_id, &posts]).await.unwrap();
        s.publish(bdr_id).await;
        s.wait_for(bdr_id, "ready").await;
        let zip = s.archive(bdr_id).await.unwrap();
        assert_eq!(zip.names().len(), 6, "an artwork and five documents");
        assert_eq!(s.row(bdr_id).await["artwork_count"], 1);
    });
}
