//! What a request asks for, read off it as the service itself would.

use std::collections::BTreeSet;

use super::script::{Call, Service};

/// An HTTP request, as far as it tells what it asks for.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    /// `X-Amz-Target`.
    pub(super) amz_target: Option<&'a str>,
    /// The body's form, if it is one.
    pub(super) form: Option<&'a str>,
}

/// Requests under this path go to the web host; AWS has no service there.
pub(super) const WEB: &str = "/web/";

pub(super) fn of_http(asked: &Asked<'_>) -> Call {
    let (service, operation) = if asked.target.starts_with(WEB) {
        (Service::Web, asked.method)
    } else if let Some(target) = asked.amz_target {
        (Service::Sqs, target.rsplit('.').next().unwrap_or(target))
    } else if let Some(action) = asked.form.and_then(action) {
        (Service::Ses, action)
    } else {
        (Service::S3, of_s3(asked))
    };
    Call {
        service,
        operation: operation.to_owned(),
        request: format!("{} {}", asked.method, asked.target),
    }
}

fn action(form: &str) -> Option<&str> {
    form.split('&').find_map(|pair| pair.strip_prefix("Action="))
}

fn of_s3(asked: &Asked<'_>) -> &'static str {
    let (path, query) = asked.target.split_once('?').unwrap_or((asked.target, ""));
    let query: BTreeSet<&str> =
        query.split('&').filter_map(|pair| pair.split('=').next()).collect();
    let has = |name: &str| query.contains(name);
    let is_bucket = path.trim_matches('/').split('/').count() < 2;
    match asked.method {
        "GET" if is_bucket && has("uploads") => "ListMultipartUploads",
        "GET" if is_bucket => "ListObjectsV2",
        "GET" if has("uploadId") => "ListParts",
        "GET" => "GetObject",
        "HEAD" => "HeadObject",
        "PUT" if has("partNumber") => "UploadPart",
        "PUT" => "PutObject",
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" if has("uploadId") => "CompleteMultipartUpload",
        "POST" => "DeleteObjects",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        "DELETE" => "DeleteObject",
        _ => "unknown",
    }
}

/// What a statement does: its verb, and the table that it reads or the status that it sets.
pub(super) fn of_sql(sql: &str) -> Call {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let after = |word: &str| {
        let at = words.iter().position(|each| each.eq_ignore_ascii_case(word))?;
        words.get(at + 1).copied()
    };
    let status = sql.split_once("SET status = '").and_then(|(_, rest)| rest.split('\'').next());
    let what = status.or_else(|| after("FROM")).unwrap_or_default();
    let verb = words.first().copied().unwrap_or("nothing");
    Call {
        service: Service::Postgres,
        operation: format!("{verb} {what}").trim_end().to_owned(),
        request: words.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(method: &str, target: &str) -> String {
        let call = of_http(&Asked { method, target, amz_target: None, form: None });
        assert_eq!(call.service, Service::S3);
        call.operation
    }

    #[test]
    fn operations_of_aws_are_told_apart() {
        for (method, target, operation) in [
            ("GET", "/vault/a/b?x-id=GetObject", "GetObject"),
            ("GET", "/vault?uploads&prefix=bdr", "ListMultipartUploads"),
            ("PUT", "/vault/bdr/u/b.zip?x-id=PutObject", "PutObject"),
            ("PUT", "/vault/bdr/u/b.zip?partNumber=1&uploadId=x", "UploadPart"),
            ("POST", "/vault/bdr/u/b.zip?uploads", "CreateMultipartUpload"),
            ("POST", "/vault/bdr/u/b.zip?uploadId=x", "CompleteMultipartUpload"),
            ("DELETE", "/vault/bdr/u/b.zip?uploadId=x", "AbortMultipartUpload"),
        ] {
            assert_eq!(s3(method, target), operation);
        }
        let asked = Asked { method: "POST", target: "/", amz_target: None, form: None };
        let sqs = Asked { amz_target: Some("AmazonSQS.DeleteMessage"), ..asked };
        assert_eq!(of_http(&sqs).to_string(), "Sqs DeleteMessage");
        let ses = Asked { form: Some("Action=SendEmail&Version=1"), amz_target: None, ..asked };
        assert_eq!(of_http(&ses).to_string(), "Ses SendEmail");
    }

    #[test]
    fn statements_are_told_apart() {
        let ready = "\n UPDATE t AS r\n SET status = 'ready', x = 1 RETURNING r.id";
        assert_eq!(of_sql(ready).operation, "UPDATE ready");
        assert_eq!(of_sql("SELECT a FROM users AS u WHERE b").operation, "SELECT users");
        assert_eq!(of_sql("").operation, "nothing");
    }
}
