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
) -> Result<(), Box<dyn std::error::Error>> {
    let body = serde_json::json!({ "bdr_id": bdr_id }).to_string();
    sqs.send_message().queue_url(queue_url).message_body(body).send().await?;
    Ok(())
}

async fn download_url(
    lambda: &aws_sdk_lambda::Client,
    function: &str,
    bdr_id: uuid::Uuid,
    user_id: i32,
) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let payload = serde_json::json!({ "bdr_id": bdr_id, "user_id": user_id }).to_string();
    let invoke = lambda.invoke().function_name(function).payload(payload.into_bytes().into());
    let answer = invoke.send().await?;
    let body = answer.payload.map(aws_sdk_lambda::primitives::Blob::into_inner).unwrap_or_default();
    if answer.function_error.is_some() {
        return Err(String::from_utf8_lossy(&body).into());
    }
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    Ok(answer["url"].as_str().map(str::to_owned)) // then: 302
}

/// The snippets of a language: one that publishes, and one that returns a download URL.
pub(super) fn snippets(language: &str) -> [&'static str; 2] {
    ["## Publish a request", "## Offer the download"].map(|heading| {
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
            python(&s, &format!("print(download_url('{function}', '{bdr_id}', {user_id}))")).await
        };
        let user_id = s.user_id.to_string();
        assert_eq!(ask(&user_id).await.unwrap(), "None", "the request is not ready");
        let queue = s.stack.queue_url().unwrap();
        python(&s, &format!("publish('{queue}', '{bdr_id}')")).await.unwrap();
        s.wait_for(bdr_id, "ready").await;
        assert_downloads(&s, &ask(&user_id).await.unwrap(), bdr_id).await;
        let error = ask("'me'").await.unwrap_err();
        assert!(error.contains("RuntimeError") && error.contains("the payload must be"), "{error}");
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
        let ask = async |name| download_url(&lambda, name, bdr_id, s.user_id).await;
        assert_eq!(ask(function).await.unwrap(), None, "the request is not ready");
        publish(&s.sqs, s.stack.queue_url().unwrap(), bdr_id).await.unwrap();
        s.wait_for(bdr_id, "ready").await;
        assert_downloads(&s, &ask(function).await.unwrap().unwrap(), bdr_id).await;
        // A malformed row.
        s.set(bdr_id, "file_path = 'elsewhere.zip'").await;
        let error = ask(function).await.unwrap_err().to_string();
        assert!(error.contains("errorMessage"), "{error}");
    });
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
        assert_eq!(zip.names().len(), 4, "an artwork and three documents");
        assert_eq!(s.row(bdr_id).await["artwork_count"], 1);
    });
}
