//! The permissions that a call needs, by AWS's Service Authorization Reference.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::form_urlencoded;

use crate::recorder::Call;

/// The account and the region of the stand-in, as ARNs name them.
const PLACE: &str = "us-east-1:000000000000";

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// As policies spell it.
    pub action: String,
    /// Its ARN.
    pub resource: String,
    /// The condition keys that the call sets, of those that our policies ask about.
    pub conditions: BTreeMap<&'static str, String>,
}

impl Need {
    fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), conditions: BTreeMap::new() }
    }
}

/// What a call needs.
///
/// # Panics
/// When it is none of those that are known here.
#[must_use]
pub fn needs(call: &Call) -> Vec<Need> {
    let target = call.headers.get("x-amz-target").map(|value| value.to_str().unwrap());
    match target.and_then(|target| target.split_once('.')) {
        Some(("AmazonSQS", operation)) => vec![of_sqs(operation, &json(call))],
        Some(("secretsmanager", operation)) => {
            let secret = json(call)["SecretId"].as_str().unwrap().to_owned();
            vec![Need::new(format!("secretsmanager:{operation}"), secret)]
        }
        Some(other) => panic!("{other:?} is no service that is known here"),
        None if call.uri.path() == "/" => of_ses(&call.body),
        None => of_s3(call),
    }
}

/// What a call needs beyond that where everything is encrypted with this KMS key. The service that is
/// called asks KMS in the caller's name.
#[must_use]
pub fn needs_of_key(call: &Call, key: &str) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for need in self::needs(call) {
        let (service, actions): (_, &[&str]) = match need.action.as_str() {
            "s3:GetObject" if call.method == Method::GET => ("s3", &["kms:Decrypt"]),
            // A part is encrypted with the data key of its upload.
            "s3:PutObject" if has_query(call, "uploadId") => ("s3", &["kms:Decrypt"]),
            "s3:PutObject" => ("s3", &["kms:GenerateDataKey"]),
            "sqs:SendMessage" => ("sqs", &["kms:Decrypt", "kms:GenerateDataKey"]),
            "secretsmanager:GetSecretValue" => ("secretsmanager", &["kms:Decrypt"]),
            _ => continue,
        };
        let via = format!("{service}.us-east-1.amazonaws.com");
        needs.extend(actions.iter().map(|action| Need {
            conditions: BTreeMap::from([("kms:ViaService", via.clone())]),
            ..Need::new(*action, key)
        }));
    }
    needs
}

fn has_query(call: &Call, name: &str) -> bool {
    let query = call.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == name)
}

fn json(call: &Call) -> Value {
    serde_json::from_slice(&call.body).unwrap()
}

fn of_sqs(operation: &str, body: &Value) -> Need {
    // Batches have no permissions of their own.
    let action = operation.trim_end_matches("Batch");
    let (_, queue) = body["QueueUrl"].as_str().unwrap().rsplit_once('/').unwrap();
    Need::new(format!("sqs:{action}"), format!("arn:aws:sqs:{PLACE}:{queue}"))
}

/// On the sender's identity, and, while the account is in the sandbox, on the recipients'.
fn of_ses(body: &[u8]) -> Vec<Need> {
    let form: BTreeMap<_, _> = form_urlencoded::parse(body).into_owned().collect();
    let action = format!("ses:{}", form["Action"]);
    let sender = address(&form["Source"]);
    let recipients = form.iter().filter(|(name, _)| name.starts_with("Destination."));
    let identities = recipients.map(|(_, recipient)| address(recipient)).chain([sender]);
    let need = |identity| Need {
        conditions: BTreeMap::from([("ses:FromAddress", sender.to_owned())]),
        ..Need::new(action.clone(), format!("arn:aws:ses:{PLACE}:identity/{identity}"))
    };
    identities.map(need).collect()
}

/// The address in `name <address>`.
fn address(mailbox: &str) -> &str {
    mailbox.split_once('<').map_or(mailbox, |(_, address)| address.trim_end_matches('>'))
}

fn of_s3(call: &Call) -> Vec<Need> {
    let path = percent_decode_str(call.uri.path()).decode_utf8().unwrap().into_owned();
    let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let query = call.uri.query().unwrap_or_default();
    let query: BTreeMap<Cow<'_, str>, _> = form_urlencoded::parse(query.as_bytes()).collect();
    let has = |name: &str| query.contains_key(name);
    let on_bucket = |action| Need::new(action, format!("arn:aws:s3:::{bucket}"));
    let on_object = |action, key: &str| Need::new(action, format!("arn:aws:s3:::{bucket}/{key}"));
    match (&call.method, key) {
        (&Method::GET, "") if has("uploads") => vec![on_bucket("s3:ListBucketMultipartUploads")],
        (&Method::GET, "") if has("list-type") => {
            let prefix = query.get("prefix").map(|prefix| ("s3:prefix", prefix.to_string()));
            vec![Need { conditions: prefix.into_iter().collect(), ..on_bucket("s3:ListBucket") }]
        }
        (&Method::POST, "") if has("delete") => {
            let body = std::str::from_utf8(&call.body).unwrap();
            let objects = body.split("<Key>").skip(1);
            let needs = objects.flat_map(|object| {
                let key = object.split("</Key>").next().unwrap();
                // The same as by `If-Match`, for each of them.
                let read = object.contains("<ETag>").then(|| on_object("s3:GetObject", key));
                [on_object("s3:DeleteObject", key)].into_iter().chain(read)
            });
            needs.collect()
        }
        (_, "") => panic!("{} {} is not known here", call.method, call.uri),
        (&Method::GET | &Method::HEAD, key) => {
            // Without the second, S3 answers 403 for an object that is not there.
            let listed = (call.status == StatusCode::NOT_FOUND).then(|| on_bucket("s3:ListBucket"));
            [on_object("s3:GetObject", key)].into_iter().chain(listed).collect()
        }
        (&Method::PUT, key) => vec![on_object("s3:PutObject", key)],
        (&Method::POST, key) if has("uploads") || has("uploadId") => {
            vec![on_object("s3:PutObject", key)]
        }
        (&Method::DELETE, key) if has("uploadId") => {
            vec![on_object("s3:AbortMultipartUpload", key)]
        }
        (&Method::DELETE, key) => {
            // S3 tells by a condition whether there is such an object.
            let read = call.headers.get("if-match").map(|_| on_object("s3:GetObject", key));
            [on_object("s3:DeleteObject", key)].into_iter().chain(read).collect()
        }
        _ => panic!("{} {} is not known here", call.method, call.uri),
    }
}
