//! A proxy in front of the stack's endpoint that writes down what a function asks of AWS.

use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::routing::any;
use local_stack::LocalStack;
use local_stack::remote::RemoteHost;

/// The proxy. Ends when it is dropped.
pub struct Recorder {
    host: RemoteHost,
    calls: Calls,
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// A request, and the status of the answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Of the answer.
    pub status: StatusCode,
}

impl Recorder {
    /// A proxy in front of this stack.
    #[must_use]
    pub fn start(stack: &LocalStack) -> Self {
        let calls = Calls::default();
        let forward = {
            let (calls, endpoint) = (Arc::clone(&calls), stack.endpoint().to_owned());
            any(async move |State(client), request| {
                let (call, answer) = forward(&client, &endpoint, request).await;
                calls.lock().unwrap().push(call);
                answer
            })
        };
        let client = local_stack::http::client().unwrap();
        let routes = Router::new().route("/", forward.clone()).route("/{*path}", forward);
        Self { host: RemoteHost::with_routes(routes.with_state(client)).unwrap(), calls }
    }

    /// For clients whose calls are to be written down.
    #[must_use]
    pub fn sdk_config(&self, stack: &LocalStack) -> SdkConfig {
        stack.sdk_config().into_builder().endpoint_url(self.host.url("")).build()
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

async fn forward(
    client: &reqwest::Client,
    endpoint: &str,
    request: Request,
) -> (Call, Response<Body>) {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut headers = head.headers.clone();
    for of_this_connection in [CONNECTION, CONTENT_LENGTH] {
        headers.remove(of_this_connection);
    }
    let url = format!("{endpoint}{}", head.uri);
    let forwarded = client.request(head.method.clone(), url).headers(headers).body(body.clone());
    let answered = forwarded.send().await.unwrap();
    let status = answered.status();
    let mut answer = Response::builder().status(status);
    for (name, value) in answered.headers() {
        if ![CONNECTION, TRANSFER_ENCODING].contains(name) {
            answer = answer.header(name, value);
        }
    }
    let answer = answer.body(Body::from(answered.bytes().await.unwrap())).unwrap();
    (Call { method: head.method, uri: head.uri, headers: head.headers, body, status }, answer)
}
