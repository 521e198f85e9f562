//! The errors with which the services refuse an HTTP request.

use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use super::call::Service;
use super::script::Fault;

/// Returns the answer of `service` for a fault that is an answer, and nothing for other faults.
pub(super) fn refusal(service: Service, fault: Fault) -> Option<Response> {
    let (status, code) = match (fault, service) {
        (Fault::Error, Service::S3) => (500, "InternalError"),
        (Fault::Error, _) => (500, "InternalFailure"),
        (Fault::Throttling, Service::S3) => (503, "SlowDown"),
        (Fault::Throttling, Service::Sqs) => (400, "RequestThrottled"),
        (Fault::Throttling, Service::Ses) => (400, "Throttling"),
        (Fault::Throttling, _) => (429, "TooManyRequests"),
        (Fault::Denial, Service::Sqs) => (403, "AccessDeniedException"),
        (Fault::Denial, _) => (403, "AccessDenied"),
        _ => return None,
    };
    let (content_type, body) = match service {
        Service::S3 => (
            "application/xml",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>CODE</Code>\
             <Message>Injected.</Message><RequestId>fault</RequestId></Error>",
        ),
        Service::Sqs | Service::SecretsManager | Service::StepFunctions => (
            "application/x-amz-json-1.0",
            r#"{"__type":"com.amazonaws.sqs#CODE","message":"Injected."}"#,
        ),
        Service::Ses => (
            "text/xml",
            "<ErrorResponse xmlns=\"http://ses.amazonaws.com/doc/2010-12-01/\"><Error>\
             <Type>Sender</Type><Code>CODE</Code><Message>Injected.</Message></Error>\
             <RequestId>fault</RequestId></ErrorResponse>",
        ),
        Service::CloudFormation
        | Service::Logs
        | Service::Iam
        | Service::Lambda
        | Service::Scheduler
        | Service::Web
        | Service::Postgres => ("text/plain", ""),
    };
    let status = StatusCode::from_u16(status).unwrap();
    Some((status, [(CONTENT_TYPE, content_type)], body.replace("CODE", code)).into_response())
}
