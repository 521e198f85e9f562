//! Invoking a deployed function, by Lambda's Invoke API.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::http;

/// Hands `payload` to the function, and waits for its answer.
///
/// # Errors
/// When Lambda does not invoke it, or when the function itself fails; the message then is its own.
pub(crate) async fn invoke(endpoint: &str, function: &str, payload: &Value) -> Result<Value> {
    let failed = || format!("{function} cannot be invoked");
    let answer = http::client()?
        .post(format!("{endpoint}/2015-03-31/functions/{function}/invocations"))
        .header("content-type", "application/json")
        .body(payload.to_string())
        .send()
        .await
        .with_context(failed)?;
    let status = answer.status();
    // Lambda says 200 of these too.
    let erred = answer.headers().contains_key("x-amz-function-error");
    let body = answer.bytes().await.with_context(failed)?;
    if !status.is_success() {
        bail!("{}: {status}, {}", failed(), String::from_utf8_lossy(&body));
    }
    if erred {
        bail!("{function} failed: {}", message(&body));
    }
    serde_json::from_slice(&body).with_context(|| {
        format!("{function} answered what is not JSON: {}", String::from_utf8_lossy(&body))
    })
}

/// What a failed function says of it; all that came when that is not in the form of an error.
fn message(body: &[u8]) -> String {
    let error: Option<Value> = serde_json::from_slice(body).ok();
    let message = error.as_ref().and_then(|error| error["errorMessage"].as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::post};
    use serde_json::json;

    use super::*;
    use crate::remote::RemoteHost;

    /// Invokes functions that stand for what Lambda can answer.
    async fn invoke(function: &str) -> Result<Value> {
        let error = [("x-amz-function-error", "Unhandled")];
        let routes = Router::new()
            .route("/2015-03-31/functions/echo/invocations", post(async |body: String| body))
            .route(
                "/2015-03-31/functions/erring/invocations",
                post(async move || (error, r#"{"errorType":"E","errorMessage":"no database"}"#)),
            )
            .route(
                "/2015-03-31/functions/crashed/invocations",
                post(async move || (error, "exit status 1")),
            )
            .route(
                "/2015-03-31/functions/absent/invocations",
                post(async || (StatusCode::NOT_FOUND, "Function not found")),
            );
        let host = RemoteHost::with_routes(routes).unwrap();
        super::invoke(&host.url(""), function, &json!({"user_id": 42})).await
    }

    #[tokio::test]
    async fn the_payload_goes_in_and_the_answer_comes_out() {
        assert_eq!(invoke("echo").await.unwrap(), json!({"user_id": 42}));
    }

    #[tokio::test]
    async fn a_failed_function_is_an_error_in_its_own_words() {
        let error = async |function| invoke(function).await.unwrap_err().to_string();
        assert_eq!(error("erring").await, "erring failed: no database");
        assert_eq!(error("crashed").await, "crashed failed: exit status 1");
        assert_eq!(
            error("absent").await,
            "absent cannot be invoked: 404 Not Found, Function not found"
        );
    }
}
