//! IAM permissions: those that a call needs ([`needs`], [`needs_of_key`]), and those that a policy
//! grants ([`grants`]). Both support only what the functions and the operator's tool call and the
//! template's policies contain, and panic on anything else.

use std::collections::{BTreeMap, BTreeSet};

use bdr_tests::proxy::{Exchange, Service};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

/// The region and the account of the stand-in, as ARNs contain them.
pub(super) const REGION_AND_ACCOUNT: &str = "us-east-1:000000000000";

/// Granted actions that support no resource but `*` (Service Authorization Reference): they read the
/// account.
const ON_ALL_RESOURCES: [&str; 8] = [
    "lambda:ListEventSourceMappings",
    "scheduler:ListSchedules",
    "ses:GetAccountSendingEnabled",
    "ses:GetIdentityDkimAttributes",
    "ses:GetIdentityVerificationAttributes",
    "ses:GetSendQuota",
    "ses:ListSuppressedDestinations",
    "xray:PutTraceSegments",
];

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Need {
    /// The action, as in policies.
    pub(super) action: String,
    /// The ARN of the resource.
    pub(super) resource: String,
    /// The values of the condition keys that the template's policies use.
    pub(super) conditions: BTreeMap<&'static str, String>,
}

/// One action on one pattern of resources under one value of each condition key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// The action.
    pub(super) action: String,
    /// An ARN, or the beginning of one and a `*`.
    pub(super) resource: String,
    /// Condition keys, and the values that they must equal, or the beginnings of such values and a `*`.
    pub(super) conditions: BTreeMap<String, String>,
    /// Whether the grant is for Lambda itself, which uses the function's role, and is denied to the
    /// function's code.
    pub(super) denied_to_code: bool,
}

impl Need {
    fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), conditions: BTreeMap::new() }
    }
}

/// Returns the permissions that a call needs (Service Authorization Reference).
///
/// # Panics
/// When the call is not supported here.
pub(super) fn needs(exchange: &Exchange) -> Vec<Need> {
    let (call, body) = (&exchange.call, exchange.request.body());
    let text = |name: &str| {
        let body: Value = serde_json::from_slice(body).unwrap();
        body[name].as_str().unwrap().to_owned()
    };
    match call.service {
        Service::S3 => needs_of_s3(exchange),
        Service::Sqs => {
            // Batches have no permissions of their own.
            let action = call.operation.trim_end_matches("Batch");
            let url = text("QueueUrl");
            let (_, queue) = url.rsplit_once('/').unwrap();
            let arn = format!("arn:aws:sqs:{REGION_AND_ACCOUNT}:{queue}");
            vec![Need::new(format!("sqs:{action}"), arn)]
        }
        Service::SecretsManager => {
            vec![Need::new(format!("secretsmanager:{}", call.operation), text("SecretId"))]
        }
        Service::Ses if call.operation == "SendEmail" => needs_of_ses("ses:SendEmail", body),
        Service::Ses => vec![Need::new(format!("ses:{}", call.operation), "*")],
        Service::Lambda => vec![need_of_lambda(exchange)],
        Service::Scheduler => vec![Need::new(format!("scheduler:{}", call.operation), "*")],
        Service::CloudFormation => {
            let stack = &form(body)["StackName"];
            let arn = format!("arn:aws:cloudformation:{REGION_AND_ACCOUNT}:stack/{stack}/*");
            vec![Need::new(format!("cloudformation:{}", call.operation), arn)]
        }
        Service::Iam => {
            vec![Need::new(format!("iam:{}", call.operation), &form(body)["PolicySourceArn"])]
        }
        Service::Logs => {
            let group = text("logGroupName");
            let arn = format!("arn:aws:logs:{REGION_AND_ACCOUNT}:log-group:{group}:*");
            vec![Need::new(format!("logs:{}", call.operation), arn)]
        }
        Service::StepFunctions => {
            let resource = match call.operation.as_str() {
                "DescribeExecution" => "executionArn",
                _ => "stateMachineArn",
            };
            vec![Need::new(format!("states:{}", call.operation), text(resource))]
        }
        Service::Web | Service::Postgres => panic!("{call} needs no permission of IAM"),
    }
}

/// Returns the fields of a body in the query protocol.
fn form(body: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(body).into_owned().collect()
}

fn need_of_lambda(Exchange { call, request, .. }: &Exchange) -> Need {
    let action = match call.operation.as_str() {
        "Invoke" => "lambda:InvokeFunction".to_owned(),
        operation => format!("lambda:{operation}"),
    };
    let mut segments = request.uri().path().split('/').skip_while(|part| *part != "functions");
    let arn = segments
        .nth(1)
        .map(|function| format!("arn:aws:lambda:{REGION_AND_ACCOUNT}:function:{function}"));
    Need::new(action, arn.unwrap_or_else(|| "*".to_owned()))
}

/// On the identity of the sender and, while the account is in the sandbox, on those of the recipients.
fn needs_of_ses(action: &str, body: &[u8]) -> Vec<Need> {
    let form = form(body);
    // The address in `name <address>`.
    let address = |mailbox: &String| {
        mailbox
            .split_once('<')
            .map_or(&**mailbox, |(_, rest)| rest.trim_end_matches('>'))
            .to_owned()
    };
    let sender = address(&form["Source"]);
    let recipients = form.iter().filter(|(name, _)| name.starts_with("Destination."));
    let identities = recipients.map(|(_, mailbox)| address(mailbox)).chain([sender.clone()]);
    let need = |identity| Need {
        conditions: BTreeMap::from([("ses:FromAddress", sender.clone())]),
        ..Need::new(action, format!("arn:aws:ses:{REGION_AND_ACCOUNT}:identity/{identity}"))
    };
    identities.map(need).collect()
}

fn needs_of_s3(Exchange { call, request, status }: &Exchange) -> Vec<Need> {
    let path = percent_decode_str(request.uri().path()).decode_utf8().unwrap();
    let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let on_bucket = |action| Need::new(action, format!("arn:aws:s3:::{bucket}"));
    let on_object = |action, key: &str| Need::new(action, format!("arn:aws:s3:::{bucket}/{key}"));
    // S3 compares the ETag of an object only for a caller that may read the object.
    let deletion = |key: &str, compares: bool| {
        let read = compares.then(|| on_object("s3:GetObject", key));
        [on_object("s3:DeleteObject", key)].into_iter().chain(read)
    };
    match call.operation.as_str() {
        "ListMultipartUploads" => vec![on_bucket("s3:ListBucketMultipartUploads")],
        "HeadBucket" => vec![on_bucket("s3:ListBucket")],
        "GetBucketLifecycleConfiguration" => vec![on_bucket("s3:GetLifecycleConfiguration")],
        "ListObjectsV2" => {
            let query = request.uri().query().unwrap_or_default();
            let mut query = form_urlencoded::parse(query.as_bytes());
            let prefix = query.find(|(name, _)| name == "prefix");
            let prefix = prefix.map(|(_, prefix)| ("s3:prefix", prefix.into_owned()));
            vec![Need { conditions: prefix.into_iter().collect(), ..on_bucket("s3:ListBucket") }]
        }
        "DeleteObjects" => {
            let objects = std::str::from_utf8(request.body()).unwrap().split("<Key>").skip(1);
            let needs = objects.flat_map(|object| {
                deletion(object.split("</Key>").next().unwrap(), object.contains("<ETag>"))
            });
            needs.collect()
        }
        "GetObject" | "HeadObject" => {
            // Without `s3:ListBucket` S3 answers 403 for an object that does not exist.
            let listed = (*status == 404).then(|| on_bucket("s3:ListBucket"));
            [on_object("s3:GetObject", key)].into_iter().chain(listed).collect()
        }
        "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
            vec![on_object("s3:PutObject", key)]
        }
        "UploadPartCopy" => {
            let source = request.headers()["x-amz-copy-source"].to_str().unwrap();
            let source = percent_decode_str(source).decode_utf8().unwrap();
            let (_, source) = source.split_once('/').unwrap();
            vec![on_object("s3:GetObject", source), on_object("s3:PutObject", key)]
        }
        "AbortMultipartUpload" => vec![on_object("s3:AbortMultipartUpload", key)],
        "DeleteObject" => deletion(key, request.headers().contains_key("if-match")).collect(),
        _ => panic!("{} is not supported here", call.request),
    }
}

/// Returns the further permissions that a call needs where everything is encrypted with this KMS key.
/// The service that is called calls KMS in the name of its caller.
pub(super) fn needs_of_key(exchange: &Exchange, key: &str) -> Vec<Need> {
    let (service, actions): (_, &[&str]) = match exchange.call.operation.as_str() {
        // A part is encrypted with the data key of its upload.
        "GetObject" | "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" => {
            ("s3", &["kms:Decrypt"])
        }
        "PutObject" | "CreateMultipartUpload" => ("s3", &["kms:GenerateDataKey"]),
        "SendMessage" | "SendMessageBatch" => ("sqs", &["kms:Decrypt", "kms:GenerateDataKey"]),
        "ReceiveMessage" => ("sqs", &["kms:Decrypt"]),
        "GetSecretValue" => ("secretsmanager", &["kms:Decrypt"]),
        _ => return Vec::new(),
    };
    let via = format!("{service}.us-east-1.amazonaws.com");
    let need = |action: &&str| Need {
        conditions: BTreeMap::from([("kms:ViaService", via.clone())]),
        ..Need::new(*action, key)
    };
    actions.iter().map(need).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Document {
    #[serde(rename = "Version")]
    _version: String,
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: Option<String>,
    effect: String,
    action: Value,
    resource: Value,
    #[serde(default)]
    condition: BTreeMap<String, Value>,
}

/// Returns the grants of a policy document.
///
/// # Panics
/// When the document contains what the template's policies do not: denials other than to the function's
/// code, conditions other than `StringEquals` and `StringLike`, wildcards in actions or within ARNs, and
/// `*` for an action that supports resources.
pub(super) fn grants(document: Value) -> Vec<Grant> {
    let document: Document = serde_json::from_value(document).expect("a supported policy");
    let (denials, allowances): (Vec<_>, Vec<_>) =
        document.statement.into_iter().partition(|statement| statement.effect == "Deny");
    let mut denied = BTreeSet::new();
    for Statement { action, resource, condition, .. } in denials {
        // Only requests from a function's code have this key.
        let by_code = json!({ "Null": { "lambda:SourceFunctionArn": "false" } });
        assert_eq!(json!(condition), by_code, "only the function's code is denied something");
        assert_eq!(resource, "*", "a denial covers all resources");
        denied.extend(texts(&action));
    }
    let mut grants = Vec::new();
    for Statement { effect, action, resource, condition, .. } in allowances {
        assert_eq!(effect, "Allow");
        let choices = choices(&condition);
        for action in texts(&action) {
            assert!(!action.contains(['*', '?']), "{action} is not an exact action");
            let denied_to_code = denied.contains(&action);
            for resource in texts(&resource) {
                let is_for_all = resource == "*" && ON_ALL_RESOURCES.contains(&&*action);
                assert!(
                    denied_to_code || is_for_all || is_narrow(&resource),
                    "{action} on {resource} is not narrow"
                );
                grants.extend(choices.iter().map(|conditions| Grant {
                    action: action.clone(),
                    resource: resource.clone(),
                    conditions: conditions.clone(),
                    denied_to_code,
                }));
            }
        }
    }
    grants
}

/// Returns each combination of one value for every condition key.
fn choices(condition: &BTreeMap<String, Value>) -> Vec<BTreeMap<String, String>> {
    let mut choices = vec![BTreeMap::new()];
    for (operator, keys) in condition {
        let is_like = operator == "StringLike";
        assert!(is_like || operator == "StringEquals", "{operator} is supported");
        for (key, values) in keys.as_object().unwrap() {
            for value in texts(values) {
                let text = value.strip_suffix('*').filter(|_| is_like).unwrap_or(&value);
                assert!(!text.contains(['*', '?']), "{value} is supported");
            }
            let with = |choice: &BTreeMap<_, _>, value| {
                choice.clone().into_iter().chain([(key.clone(), value)]).collect()
            };
            let extended = |choice| texts(values).into_iter().map(move |value| with(choice, value));
            choices = choices.iter().flat_map(extended).collect();
        }
    }
    choices
}

/// Returns the elements of a list of strings, or a single string.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(elements) => elements.iter().flat_map(texts).collect(),
        text => vec![text.as_str().expect("a string").to_owned()],
    }
}

/// Returns whether this is an ARN, or the beginning of one up to a separator and a `*`.
fn is_narrow(resource: &str) -> bool {
    let beginning = resource.strip_suffix('*').unwrap_or(resource);
    let ends_well = beginning == resource || beginning.ends_with(['/', ':']);
    ends_well && !beginning.contains(['*', '?'])
}

impl Grant {
    /// Returns whether the grant covers what a call needs.
    pub(super) fn allows(&self, need: &Need) -> bool {
        let covers = match self.resource.strip_suffix('*') {
            Some(beginning) => need.resource.starts_with(beginning),
            None => need.resource == self.resource,
        };
        let mut conditions = self.conditions.iter();
        let are_met = conditions.all(|(key, value)| {
            need.conditions.get(&**key).is_some_and(|actual| match value.strip_suffix('*') {
                Some(beginning) => actual.starts_with(beginning),
                None => actual == value,
            })
        });
        !self.denied_to_code && self.action == need.action && covers && are_met
    }
}
