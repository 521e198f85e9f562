//! Invocation of a deployed function, with Lambda's Invoke API.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::http;

/// Invokes a function with `payload`, and returns its response.
///
/// # Errors
/// When Lambda does not invoke the function, or with the function's own message when it fails.
pub(crate) async fn invoke(endpoint: &str, function: &str, payload: &Value) -> Result<Value> {
    let failed = || format!("failed to invoke {function}");
    let answer = http::client()?
        .post(format!("{endpoint}/2015-03-31/functions/{function}/invocations"))
        .header("content-type", "application/json")
        .body(payload.to_string())
        .send()
        .await
        .with_context(failed)?;
    let status = answer.status();
    // The status is 200 also when the function has failed.
    let has_failed = answer.headers().contains_key("x-amz-function-error");
    let body = answer.bytes().await.with_context(failed)?;
    let text = String::from_utf8_lossy(&body);
    if !status.is_success() {
        bail!("{}: {status}, {text}", failed());
    }
    if has_failed {
        let error: Option<Value> = serde_json::from_slice(&body).ok();
        let message = error.as_ref().and_then(|error| error["errorMessage"].as_str());
        bail!("{function} failed: {}", message.unwrap_or(&text));
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("the response of {function} is not JSON: {text}"))
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::post};
    use serde_json::json;

    use super::*;
    use crate::remote::RemoteHost;

    /// Invokes one of four functions, which give the kinds of response that Lambda has.
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
    async fn the_payload_is_sent_and_the_response_returned() {
        assert_eq!(invoke("echo").await.unwrap(), json!({"user_id": 42}));
    }

    #[tokio::test]
    async fn a_failed_function_is_an_error_with_its_message() {
        let error = async |function| invoke(function).await.unwrap_err().to_string();
        assert_eq!(error("erring").await, "erring failed: no database");
        assert_eq!(error("crashed").await, "crashed failed: exit status 1");
        assert_eq!(
            error("absent").await,
            "failed to invoke absent: 404 Not Found, Function not found"
        );
    }
}
