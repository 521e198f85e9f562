//! The service and the operation of a call, derived from the request as the service derives them.

use std::fmt;

use axum::body::Bytes;
use axum::http::{Method, Request, Uri};

/// A service that a function or the operator's tool calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Amazon S3, which holds the vault.
    S3,
    /// Amazon SQS.
    Sqs,
    /// Amazon SES.
    Ses,
    /// AWS Secrets Manager.
    SecretsManager,
    /// AWS CloudFormation.
    CloudFormation,
    /// Amazon CloudWatch Logs.
    Logs,
    /// AWS IAM.
    Iam,
    /// AWS Lambda.
    Lambda,
    /// Amazon EventBridge Scheduler.
    Scheduler,
    /// AWS Step Functions.
    StepFunctions,
    /// A web server outside AWS.
    Web,
    /// The database.
    Postgres,
}

/// A call of a function: an HTTP request, or one turn of the PostgreSQL protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The service that is called.
    pub service: Service,
    /// The service's name for it, such as `UploadPart`; for PostgreSQL `connect`, `authenticate`, or
    /// what the statement does, such as `UPDATE ready`.
    pub operation: String,
    /// Method, path and query, and [`IF_MATCH`] or [`TRAILER`]; for PostgreSQL the statement.
    pub request: String,
}

/// The end of [`Call::request`] if the request is for one version of an object.
pub const IF_MATCH: &str = " if-match";
/// The end of [`Call::request`] if the request was sent before its checksum was known.
pub const TRAILER: &str = " trailer";

/// The path under which requests go to the web host; the AWS endpoint has no service there.
pub(super) const WEB: &str = "/web/";

impl Call {
    /// Identifies an HTTP request.
    pub(super) fn of_http(request: &Request<Bytes>) -> Self {
        let (method, uri) = (request.method(), request.uri());
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let target = header("x-amz-target").and_then(|target| target.split_once('.'));
        let form = header("content-type") == Some("application/x-www-form-urlencoded");
        let body = std::str::from_utf8(request.body()).ok().filter(|_| form);
        let action = body.and_then(|body| body.split('&').find_map(|p| p.strip_prefix("Action=")));
        // `Credential=<key>/<day>/<region>/<service>/aws4_request` (Signature Version 4).
        let signed_for = header("authorization").and_then(|value| value.split('/').nth(3));
        let (service, operation) = match (target, action, signed_for) {
            _ if uri.path().starts_with(WEB) => (Service::Web, method.as_str()),
            (Some(("AmazonSQS", operation)), ..) => (Service::Sqs, operation),
            (Some(("secretsmanager", operation)), ..) => (Service::SecretsManager, operation),
            (Some(("Logs_20140328", operation)), ..) => (Service::Logs, operation),
            (Some(("AWSStepFunctions", operation)), ..) => (Service::StepFunctions, operation),
            (Some((other, _)), ..) => panic!("the proxy does not support the service {other}"),
            (None, Some(action), Some("cloudformation")) => (Service::CloudFormation, action),
            (None, Some(action), Some("iam")) => (Service::Iam, action),
            (None, Some(action), _) => (Service::Ses, action),
            (None, None, Some("lambda")) => (Service::Lambda, lambda_operation(method, uri)),
            (None, None, Some("scheduler")) => {
                (Service::Scheduler, scheduler_operation(method, uri))
            }
            (None, None, Some("ses")) => (Service::Ses, ses_operation(method, uri)),
            (None, None, _) if header("x-amz-copy-source").is_some() => {
                (Service::S3, "UploadPartCopy")
            }
            (None, None, _) => (Service::S3, s3_operation(method, uri)),
        };
        let end = match (header("if-match"), header("x-amz-trailer")) {
            (Some(_), _) => IF_MATCH,
            (None, Some(_)) => TRAILER,
            (None, None) => "",
        };
        let request = format!("{method} {uri}{end}");
        Self { service, operation: operation.to_owned(), request }
    }

    /// Identifies a statement by its verb, and by the status that it sets or the table that it reads.
    pub(super) fn of_sql(sql: &str) -> Self {
        let words: Vec<&str> = sql.split_whitespace().collect();
        let from = words.iter().position(|word| word.eq_ignore_ascii_case("FROM"));
        let table = from.and_then(|at| words.get(at + 1)).copied();
        let status = sql.split_once("SET status = '").and_then(|(_, rest)| rest.split('\'').next());
        let verb = words.first().unwrap_or(&"nothing");
        let operation = format!("{verb} {}", status.or(table).unwrap_or_default());
        let call = Self::of_postgres(operation.trim_end());
        Self { request: words.join(" "), ..call }
    }

    /// A turn of the PostgreSQL protocol without a statement.
    pub(super) fn of_postgres(operation: &str) -> Self {
        let service = Service::Postgres;
        Self { service, operation: operation.to_owned(), request: operation.to_owned() }
    }
}

fn s3_operation(method: &Method, uri: &Uri) -> &'static str {
    let query = uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let is_bucket = !uri.path().trim_matches('/').contains('/');
    match method.as_str() {
        "GET" if is_bucket && has("uploads") => "ListMultipartUploads",
        "GET" if is_bucket && has("list-type") => "ListObjectsV2",
        "POST" if is_bucket && has("delete") => "DeleteObjects",
        "GET" if is_bucket && has("lifecycle") => "GetBucketLifecycleConfiguration",
        "HEAD" if is_bucket => "HeadBucket",
        _ if is_bucket => "unknown",
        "GET" if has("uploadId") => "ListParts",
        "GET" => "GetObject",
        "HEAD" => "HeadObject",
        "PUT" if has("partNumber") => "UploadPart",
        "PUT" => "PutObject",
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" if has("uploadId") => "CompleteMultipartUpload",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        "DELETE" => "DeleteObject",
        _ => "unknown",
    }
}

/// The operations of the operator's tool.
fn lambda_operation(method: &Method, uri: &Uri) -> &'static str {
    let last = uri.path().trim_end_matches('/').rsplit('/').next();
    match (method.as_str(), last) {
        ("POST", Some("invocations")) => "Invoke",
        ("GET", Some("configuration")) => "GetFunctionConfiguration",
        ("GET", Some("event-source-mappings")) => "ListEventSourceMappings",
        _ => "unknown",
    }
}

/// The operations of version 2 of the API that the operator's tool calls.
fn ses_operation(method: &Method, uri: &Uri) -> &'static str {
    match (method.as_str(), uri.path()) {
        ("GET", "/v2/email/suppression/addresses") => "ListSuppressedDestinations",
        _ => "unknown",
    }
}

/// The operations of the operator's tool.
fn scheduler_operation(method: &Method, uri: &Uri) -> &'static str {
    match (method.as_str(), uri.path().trim_matches('/')) {
        ("GET", "schedules") => "ListSchedules",
        _ => "unknown",
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.service, self.operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(method: &str, uri: &str, header: (&str, &str), body: &'static str) -> String {
        let request = Request::builder().method(method).uri(uri).header(header.0, header.1);
        Call::of_http(&request.body(body.into()).unwrap()).to_string()
    }

    #[test]
    fn aws_operations_are_identified() {
        for (method, uri, operation) in [
            ("GET", "/vault/a/b?x-id=GetObject", "S3 GetObject"),
            ("GET", "/vault?uploads&prefix=bdr", "S3 ListMultipartUploads"),
            ("GET", "/vault/?list-type=2&prefix=bdr", "S3 ListObjectsV2"),
            ("POST", "/vault/?delete", "S3 DeleteObjects"),
            ("PUT", "/vault/bdr/u/b.zip?x-id=PutObject", "S3 PutObject"),
            ("PUT", "/vault/bdr/u/b.zip?partNumber=1&uploadId=x", "S3 UploadPart"),
            ("POST", "/vault/bdr/u/b.zip?uploads", "S3 CreateMultipartUpload"),
            ("POST", "/vault/bdr/u/b.zip?uploadId=x", "S3 CompleteMultipartUpload"),
            ("DELETE", "/vault/bdr/u/b.zip?uploadId=x", "S3 AbortMultipartUpload"),
            ("GET", "/web/a.png", "Web GET"),
        ] {
            assert_eq!(http(method, uri, ("host", "127.0.0.1"), ""), operation);
        }
        let sqs = ("x-amz-target", "AmazonSQS.DeleteMessage");
        assert_eq!(http("POST", "/", sqs, "{}"), "Sqs DeleteMessage");
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(http("POST", "/", form, "Action=SendEmail&Version=1"), "Ses SendEmail");
    }

    #[test]
    fn operations_of_the_tool_are_identified() {
        for (service, method, uri, operation) in [
            ("s3", "HEAD", "/vault/", "S3 HeadBucket"),
            ("s3", "GET", "/vault/?lifecycle", "S3 GetBucketLifecycleConfiguration"),
            ("lambda", "POST", "/2015-03-31/functions/f/invocations", "Lambda Invoke"),
            (
                "lambda",
                "GET",
                "/2015-03-31/functions/f/configuration",
                "Lambda GetFunctionConfiguration",
            ),
            (
                "lambda",
                "GET",
                "/2015-03-31/event-source-mappings?FunctionName=f",
                "Lambda ListEventSourceMappings",
            ),
            ("scheduler", "GET", "/schedules", "Scheduler ListSchedules"),
            ("ses", "GET", "/v2/email/suppression/addresses", "Ses ListSuppressedDestinations"),
        ] {
            let signature = format!(
                "AWS4-HMAC-SHA256 Credential=AKID/20261129/us-east-1/{service}/aws4_request, \
                 SignedHeaders=host, Signature=0"
            );
            assert_eq!(http(method, uri, ("authorization", &signature), ""), operation);
        }
        let logs = ("x-amz-target", "Logs_20140328.FilterLogEvents");
        assert_eq!(http("POST", "/", logs, "{}"), "Logs FilterLogEvents");
    }

    #[test]
    fn statements_are_identified() {
        let ready = "\n UPDATE t AS r\n SET status = 'ready', x = 1 RETURNING r.id";
        assert_eq!(Call::of_sql(ready).operation, "UPDATE ready");
        assert_eq!(Call::of_sql("SELECT a FROM users AS u WHERE b").operation, "SELECT users");
        assert_eq!(Call::of_sql("").operation, "nothing");
    }
}
