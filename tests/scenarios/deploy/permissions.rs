//! The roles of the template allow exactly the calls that the functions make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bdr_tests::in_process::{Cleaner, canary, now, presign};
use bdr_tests::proxy::{Exchange, HttpProxy, Service};
use bdr_tests::scenario::unique;
use bdr_tests::template::text;
use bdr_tests::{Artwork, Delivery, Scenario, scenario_apart};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use shared::clock::Clock;
use time::Duration;
use uuid::Uuid;

use super::iam::{Grant, Need, REGION_AND_ACCOUNT, grants, needs, needs_of_key};
use crate::deploy::deployed_stack::{aws, deploy, package, translations};
use crate::deploy::secrets::create_secret;

/// Granted actions that the functions themselves do not call: role, action, a part of the resource,
/// who needs it, and the parameter without which the grant is missing.
const NOT_BY_THE_FUNCTION: [(&str, &str, &str, &str, Option<&str>); 15] = [
    ("ProcessBdrJobRole", "sqs:ReceiveMessage", "-requests", "Lambda's event source", None),
    ("ProcessBdrJobRole", "sqs:DeleteMessage", "-requests", "Lambda's event source", None),
    ("ProcessBdrJobRole", "sqs:GetQueueAttributes", "-requests", "Lambda's event source", None),
    (
        "ProcessBdrJobRole",
        "kms:Decrypt",
        ":key/",
        "Lambda's event source, for the queue's messages",
        Some("KmsKeyArn"),
    ),
    (
        "ProcessBdrJobRole",
        "ses:SendEmail",
        ":configuration-set/*",
        "a sender that has one",
        Some("EmailFrom"),
    ),
    (
        "ProcessBdrJobRole",
        "xray:PutTraceSegments",
        "*",
        "the collector in its layer",
        Some("CollectorLayerArn"),
    ),
    ("ProcessBdrJobRole", "logs:CreateLogStream", "", "Lambda", None),
    ("ProcessBdrJobRole", "logs:PutLogEvents", "", "Lambda", None),
    (
        "CleanupExpiredBdrsRole",
        "sqs:SendMessage",
        "CleanupFailureQueue",
        "Lambda, for failed runs",
        None,
    ),
    ("CleanupExpiredBdrsRole", "logs:CreateLogStream", "", "Lambda", None),
    ("CleanupExpiredBdrsRole", "logs:PutLogEvents", "", "Lambda", None),
    ("PresignBdrDownloadRole", "logs:CreateLogStream", "", "Lambda", None),
    ("PresignBdrDownloadRole", "logs:PutLogEvents", "", "Lambda", None),
    ("RunCanaryRole", "logs:CreateLogStream", "", "Lambda", None),
    ("RunCanaryRole", "logs:PutLogEvents", "", "Lambda", None),
];

/// Actions that Lambda performs with the role to connect a function to a VPC. The function itself
/// may not perform them.
const FOR_A_VPC: [&str; 6] = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
];

/// The sender of the scenarios' stack.
const SENDER: &str = "no-reply@makapix.club";

/// The calls that a function with this role makes, as it was recorded, with these names.
struct Usage {
    role: &'static str,
    calls: Vec<Exchange>,
    queue: String,
    bucket: String,
    secret: String,
    state_machine: String,
}

impl Usage {
    fn recorded(s: &Scenario, role: &'static str, calls: &HttpProxy, queue_url: &str) -> Self {
        let (_, queue) = queue_url.rsplit_once('/').unwrap();
        let (queue, bucket) = (queue.to_owned(), s.bucket().to_owned());
        let (secret, state_machine) = (String::new(), String::new());
        Self { role, calls: calls.exchanges(), queue, bucket, secret, state_machine }
    }

    /// Checks that the grants of the role in a stack with these parameters allow all of the calls that
    /// the function makes there and, apart from [`NOT_BY_THE_FUNCTION`], no other.
    fn check(&self, stack: &Stack, parameters: &BTreeMap<String, String>, grants: Vec<Grant>) {
        let Self { role, .. } = self;
        let is_given = |name| parameters.contains_key(name);
        let (for_lambda, grants): (Vec<_>, Vec<_>) =
            grants.into_iter().partition(|grant| grant.denied_to_code);
        let for_lambda = for_lambda.into_iter().map(|grant| grant.action);
        let for_lambda: Vec<_> = for_lambda.collect::<BTreeSet<_>>().into_iter().collect();
        let for_a_vpc = if is_given("VpcSubnetIds") { &FOR_A_VPC[..] } else { &[] };
        assert_eq!(for_lambda, for_a_vpc, "{role}");

        let mut needed = Vec::new();
        for call in &self.calls {
            let is_made = match call.call.service {
                Service::SecretsManager => is_given("DatabaseSecretArn"),
                Service::Ses => is_given("EmailFrom"),
                Service::StepFunctions => !is_given("LargeExports"),
                _ => true,
            };
            let of_key = parameters.get("KmsKeyArn").map(|key| needs_of_key(call, key));
            let needs = needs(call).into_iter().chain(of_key.into_iter().flatten());
            for mut need in needs.filter(|_| is_made) {
                for (recorded, name) in [
                    (&self.queue, &stack.queue),
                    (&self.bucket, &stack.bucket),
                    (&self.secret, &stack.secret),
                    (&self.state_machine, &stack.state_machine),
                    (&executions(&self.state_machine), &executions(&stack.state_machine)),
                ] {
                    need.resource = need.resource.replace(&**recorded, name);
                }
                needed.push(need);
            }
        }
        let mut unused = unused(&format!("{role} with {parameters:?}"), &grants, &needed);
        for (_, action, resource, by, parameter) in
            NOT_BY_THE_FUNCTION.iter().filter(|it| it.0 == *role)
        {
            let before = unused.len();
            unused.retain(|g| g.action != *action || !g.resource.contains(resource));
            let expected = usize::from(parameter.is_none_or(is_given));
            assert_eq!(unused.len(), before - expected, "{role} grants {action} ({by})");
        }
        assert!(unused.is_empty(), "{role} allows unused actions with {parameters:?}: {unused:?}");
    }
}

/// Returns the beginning of the ARNs of a state machine's executions.
fn executions(state_machine: &str) -> String {
    state_machine.replace(":stateMachine:", ":execution:")
}

/// Checks that the grants of `holder` cover all needs. Returns the grants that no need requires.
pub(super) fn unused<'a>(holder: &str, grants: &'a [Grant], needs: &[Need]) -> Vec<&'a Grant> {
    for need in needs {
        assert!(grants.iter().any(|grant| grant.allows(need)), "{holder} does not allow {need:?}");
    }
    grants.iter().filter(|grant| !needs.iter().any(|need| grant.allows(need))).collect()
}

/// The names of a stack's resources in ARNs.
struct Stack {
    queue: String,
    bucket: String,
    secret: String,
    state_machine: String,
}

/// A second deployment of the template, with every parameter that adds a policy to the roles: the
/// scenario's bucket as the vault, a secret, a key, a VPC.
pub(super) struct Deployed {
    /// Name of the stack.
    pub(super) stack: String,
    /// Physical ids of the resources, by logical id.
    pub(super) resources: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

impl Deployed {
    pub(super) async fn with_everything(s: &Scenario, secret: &str, sender: &str) -> Self {
        let key = aws(s, &["kms", "create-key"]).await["KeyMetadata"]["Arn"].clone();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("template.json");
        package(s, &file).await;
        let stack = unique("with-everything-");
        let sender = format!("Makapix <{sender}>");
        let parameters = BTreeMap::from(
            [
                ("DatabaseSecretArn", secret),
                ("VaultBucketName", s.bucket()),
                ("KmsKeyArn", key.as_str().unwrap()),
                ("EmailFrom", &sender),
                ("CanaryRequestId", "0198f3c2-7c1e-7d3a-9b52-4f0a1c2d3e4f"),
                ("VpcSubnetIds", "subnet-0123456a,subnet-0123456b"),
                ("VpcSecurityGroupIds", "sg-0123456c"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let overrides: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let overrides: Vec<_> = overrides.iter().map(String::as_str).collect();
        deploy(s, &stack, &file, &overrides).await;
        let cloudformation = aws_sdk_cloudformation::Client::new(&s.stack.sdk_config());
        let resources = cloudformation.describe_stack_resources().stack_name(&stack);
        let resources = resources.send().await.unwrap().stack_resources.unwrap_or_default();
        let ids = resources
            .into_iter()
            .map(|it| (it.logical_resource_id.unwrap(), it.physical_resource_id.unwrap()));
        Self { stack, resources: ids.collect(), parameters }
    }

    /// Returns the ARN of the KMS key.
    pub(super) fn key(&self) -> &str {
        &self.parameters["KmsKeyArn"]
    }

    /// Returns the grants of a managed policy.
    pub(super) async fn grants_of_policy(&self, s: &Scenario, policy: &str) -> Vec<Grant> {
        grants(self.managed_policy(s, policy).await)
    }

    /// Returns the grants of a role's deployed policies.
    async fn grants(&self, s: &Scenario, role: &str) -> Vec<Grant> {
        let (iam, name) = (aws_sdk_iam::Client::new(&s.stack.sdk_config()), &self.resources[role]);
        let attached = iam.list_attached_role_policies().role_name(name).send().await.unwrap();
        assert_eq!(attached.attached_policies(), [], "{role} has other attached policies");
        let policies = iam.list_role_policies().role_name(name).send().await.unwrap();
        let mut granted = Vec::new();
        for policy in policies.policy_names() {
            let policy = iam.get_role_policy().role_name(name).policy_name(policy);
            let policy = policy.send().await.unwrap();
            // "The policy document […] is URL-encoded" (IAM, "GetRolePolicy").
            let document = percent_decode_str(policy.policy_document()).decode_utf8().unwrap();
            granted.extend(grants(serde_json::from_str(&document).unwrap()));
        }
        granted
    }

    /// Returns the document of a managed policy.
    async fn managed_policy(&self, s: &Scenario, policy: &str) -> Value {
        let iam = aws_sdk_iam::Client::new(&s.stack.sdk_config());
        let arn = &self.resources[policy];
        let version = iam.get_policy().policy_arn(arn).send().await.unwrap().policy.unwrap();
        let version = iam
            .get_policy_version()
            .policy_arn(arn)
            .version_id(version.default_version_id.unwrap())
            .send();
        let version = version.await.unwrap().policy_version.unwrap();
        let document = percent_decode_str(version.document.as_deref().unwrap());
        serde_json::from_str(&document.decode_utf8().unwrap()).unwrap()
    }

    fn arn(&self, service: &str, prefix: &str, id: &str) -> String {
        let name = self.resources[id].rsplit('/').next().unwrap();
        format!("arn:aws:{service}:{REGION_AND_ACCOUNT}:{prefix}{name}")
    }

    async fn check(&self, s: &Scenario, usages: &[Usage]) {
        let stack = Stack {
            queue: self.resources["BdrQueue"].rsplit('/').next().unwrap().to_owned(),
            bucket: s.bucket().to_owned(),
            secret: self.parameters["DatabaseSecretArn"].clone(),
            state_machine: self.resources["ExportStateMachine"].clone(),
        };
        for usage in usages {
            usage.check(&stack, &self.parameters, self.grants(s, usage.role).await);
        }
        let functions = ["PresignBdrDownloadFunction", "CleanupExpiredBdrsFunction"];
        let functions = functions.map(|id| self.arn("lambda", "function:", id));
        let key = self.parameters.get("KmsKeyArn");
        let policy = self.managed_policy(s, "ApiPolicy").await;
        check_api_policy(policy, self.arn("sqs", "", "BdrQueue"), functions, key);
    }
}

/// Checks that the API's policy allows what docs/api.md describes, and nothing else.
fn check_api_policy(
    document: Value,
    queue: String,
    functions: impl IntoIterator<Item = String>,
    key: Option<&String>,
) {
    let allowed: BTreeSet<_> =
        grants(document).into_iter().map(|grant| (grant.action, grant.resource)).collect();
    let mut needed = BTreeSet::from([("sqs:SendMessage".to_owned(), queue)]);
    needed.extend(functions.into_iter().map(|arn| ("lambda:InvokeFunction".to_owned(), arn)));
    for action in ["kms:Decrypt", "kms:GenerateDataKey"] {
        needed.extend(key.map(|key| (action.to_owned(), key.clone())));
    }
    assert_eq!(allowed, needed);
}

/// A stack as CloudFormation evaluates the translated template for a combination of parameters.
struct Evaluated<'a> {
    parameters: &'a BTreeMap<String, String>,
    stack: Value,
}

impl Evaluated<'_> {
    fn resource(&self, id: &str) -> &Value {
        &self.stack["Resources"][id]
    }

    /// Returns the ARN that a resource gets.
    fn arn(&self, id: &str) -> String {
        let properties = &self.resource(id)["Properties"];
        let name = |property: &str| properties[property].as_str().unwrap_or(id).to_owned();
        let (service, name) = match self.resource(id)["Type"].as_str().unwrap_or_default() {
            "AWS::StepFunctions::StateMachine" => {
                ("states", format!("stateMachine:{}", name("StateMachineName")))
            }
            "AWS::S3::Bucket" => return format!("arn:aws:s3:::{id}"),
            "AWS::SQS::Queue" => ("sqs", name("QueueName")),
            "AWS::Logs::LogGroup" => ("logs", format!("log-group:{}", name("LogGroupName"))),
            "AWS::Lambda::Function" => ("lambda", format!("function:{id}")),
            "AWS::Lambda::Alias" => {
                let function = text(&properties["FunctionName"]["Ref"]);
                ("lambda", format!("function:{function}:{}", name("Name")))
            }
            other => panic!("{id} is of type {other:?}"),
        };
        format!("arn:aws:{service}:{REGION_AND_ACCOUNT}:{name}")
    }

    /// Returns a policy document with ARNs in the place of references.
    fn resolved(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) if members.contains_key("Fn::GetAtt") => {
                assert_eq!(members["Fn::GetAtt"][1], "Arn");
                self.arn(&text(&members["Fn::GetAtt"][0])).into()
            }
            Value::Object(members) if members.contains_key("Ref") => {
                self.arn(&text(&members["Ref"])).into()
            }
            Value::Object(members) => {
                let member = |(name, value): (&String, _)| (name.clone(), self.resolved(value));
                Value::Object(members.iter().map(member).collect())
            }
            Value::Array(elements) => elements.iter().map(|it| self.resolved(it)).collect(),
            Value::String(text) => match text.split_once(".Arn}") {
                Some((before, after)) => {
                    let (_, id) = before.split_once("${").unwrap();
                    format!("{}{after}", self.arn(id)).into()
                }
                None => value.clone(),
            },
            _ => value.clone(),
        }
    }

    /// Returns the grants of a role's policies.
    fn grants(&self, role: &str) -> Vec<Grant> {
        let properties = &self.resource(role)["Properties"];
        assert_eq!(properties.get("ManagedPolicyArns"), None, "{role}");
        let policies = properties["Policies"].as_array().unwrap().iter();
        policies.flat_map(|it| grants(self.resolved(&it["PolicyDocument"]))).collect()
    }

    fn check(&self, usages: &[Usage]) {
        let Self { parameters, stack: evaluated } = self;
        let given = |name: &str| parameters.get(name).cloned();
        let stack = Stack {
            queue: text(&self.resource("BdrQueue")["Properties"]["QueueName"]),
            bucket: given("VaultBucketName").unwrap_or_else(|| "VaultBucket".to_owned()),
            secret: given("DatabaseSecretArn").unwrap_or_default(),
            state_machine: given("LargeExports")
                .map_or_else(|| self.arn("ExportStateMachine"), |_| String::new()),
        };
        for usage in usages {
            let has_role = self.resource(usage.role).is_object();
            assert_eq!(
                has_role,
                usage.role != "RunCanaryRole" || given("CanaryRequestId").is_some()
            );
            if has_role {
                usage.check(&stack, parameters, self.grants(usage.role));
            }
        }
        if given("CanaryRequestId").is_some() {
            let of_schedule = self.grants("RunCanaryScheduleRole").into_iter();
            let of_schedule: Vec<_> = of_schedule.map(|it| (it.action, it.resource)).collect();
            let needed = ("lambda:InvokeFunction".to_owned(), self.arn("RunCanaryFunction"));
            assert_eq!(of_schedule, [needed], "the role of the canary's schedule");
        }
        let functions = [
            "PresignBdrDownloadFunction",
            "PresignBdrDownloadAlias",
            "CleanupExpiredBdrsFunction",
            "CleanupExpiredBdrsAlias",
        ];
        let cleanup = functions[if given("Release").is_some() { 3 } else { 2 }];
        let of_schedules = self.grants("CleanupScheduleRole").into_iter();
        let of_schedules: Vec<_> = of_schedules.map(|it| (it.action, it.resource)).collect();
        let needed = [
            ("lambda:InvokeFunction".to_owned(), self.arn(cleanup)),
            ("sqs:SendMessage".to_owned(), self.arn("CleanupFailureQueue")),
        ];
        assert_eq!(of_schedules, needed, "the role of the schedules");
        if given("LargeExports").is_none() {
            let process = ["ProcessBdrJobFunction", "ProcessBdrJobAlias"];
            let process = process[usize::from(given("Release").is_some())];
            let of_exports = self.grants("ExportStateMachineRole").into_iter();
            let of_exports: Vec<_> = of_exports.map(|it| (it.action, it.resource)).collect();
            let needed = ("lambda:InvokeFunction".to_owned(), self.arn(process));
            assert_eq!(of_exports, [needed], "the role of the state machine");
        }
        let deployments = self.resource("DeploymentRole");
        assert_eq!(deployments.is_object(), given("DeploymentType").is_some());
        assert_eq!(deployments["Properties"].get("Policies"), None, "only AWS's own policy");
        let roles = evaluated["Resources"].as_object().unwrap().iter();
        let mut roles = roles.filter(|(_, it)| it["Type"] == "AWS::IAM::Role").map(|(id, _)| id);
        let is_checked = |id: &str| {
            let others = [
                "CleanupScheduleRole",
                "RunCanaryScheduleRole",
                "DeploymentRole",
                "ExportStateMachineRole",
            ];
            usages.iter().any(|usage| usage.role == id) || others.contains(&id)
        };
        assert_eq!(roles.find(|id| !is_checked(id)), None, "a role that is not checked");

        let policy = &self.resource("ApiPolicy")["Properties"];
        let roles = given("ApiRoleName").map(|name| json!([name]));
        assert_eq!(policy.get("Roles"), roles.as_ref());
        let document = self.resolved(&policy["PolicyDocument"]);
        let functions = functions.iter().filter(|id| self.resource(id).is_object());
        let functions = functions.map(|id| self.arn(id));
        check_api_policy(document, self.arn("BdrQueue"), functions, parameters.get("KmsKeyArn"));
    }
}

#[test]
fn the_roles_allow_exactly_what_the_functions_call() {
    scenario_apart(async |mut s| {
        let url = json!({ "url": s.database_url });
        let secret = create_secret(&s, &url.to_string()).await;
        let deployed = Deployed::with_everything(&s, &secret, SENDER).await;
        let by_secret = [("DATABASE_URL", ""), ("DATABASE_SECRET_ARN", secret.as_str())];
        let endpoint = s.stack.endpoint();

        let recorder = HttpProxy::start(Arc::default(), endpoint, "").await.unwrap();
        s.aws = recorder.sdk_config(s.stack);
        let queue_url = process(&s, &by_secret, &deployed.resources["ExportStateMachine"]).await;
        let process = Usage::recorded(&s, "ProcessBdrJobRole", &recorder, &queue_url);

        let recorder = HttpProxy::start(Arc::default(), endpoint, "").await.unwrap();
        s.aws = recorder.sdk_config(s.stack);
        let exports = [("EXPORT_STATE_MACHINE_ARN", &*deployed.resources["ExportStateMachine"])];
        let queue_url = clean_up(&s, &[&by_secret[..], &exports].concat()).await;
        let cleanup = Usage::recorded(&s, "CleanupExpiredBdrsRole", &recorder, &queue_url);

        let recorder = HttpProxy::start(Arc::default(), endpoint, "").await.unwrap();
        s.aws = recorder.sdk_config(s.stack);
        presign_and_download(&s, &by_secret).await;
        let presign = Usage::recorded(&s, "PresignBdrDownloadRole", &recorder, "/no-queue");

        let recorder = HttpProxy::start(Arc::default(), endpoint, "").await.unwrap();
        s.aws = recorder.sdk_config(s.stack);
        let queue_url = run_canary(&s, &by_secret).await;
        let canary = Usage::recorded(&s, "RunCanaryRole", &recorder, &queue_url);

        let usages = [process, cleanup, presign, canary].map(|usage| Usage {
            secret: secret.clone(),
            state_machine: deployed.resources["ExportStateMachine"].clone(),
            ..usage
        });
        deployed.check(&s, &usages).await;
        for translation in translations(&s).await {
            let stack = translation.stack();
            Evaluated { parameters: &translation.parameters, stack }.check(&usages);
        }
    });
}

/// Makes `process-bdr-job` take every path that calls AWS. Returns the URL of its queue.
async fn process(s: &Scenario, variables: &[(&str, &str)], state_machine: &str) -> String {
    let exports = [("EXPORT_STATE_MACHINE_ARN", state_machine), ("SEGMENT_BYTES", "10485760")];
    let mut worker = s.worker(&[variables, &exports].concat()).await;
    let small = s.artwork(Artwork::default()).await;
    let large = s.artwork(Artwork { file: Some(&vec![1; 9 << 20]), ..Artwork::default() }).await;
    let missing = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
    for posts in [vec![small, missing], vec![small, large]] {
        let bdr_id = s.request(&posts).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.log.outcome()["email"], "sent");
    }
    let another = s.artwork(Artwork { file: Some(&vec![2; 9 << 20]), ..Artwork::default() }).await;
    let bdr_id = s.request(&[large, another, small]).await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.log.outcome()["result"], "exported");
    // The existing ZIP is adopted, and the worker's own upload aborted.
    let bdr_id = s.request(&[large]).await;
    s.put(&s.archive_key(bdr_id), b"another attempt's ZIP").await;
    assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
    assert_eq!(s.log.outcome()["adopted"], true);
    assert_eq!(worker.receive_again("{}", 1).await, Delivery::BackNow);
    worker.drain().await;

    let bdr_id = s.request(&[small]).await;
    s.put(&s.archive_key(bdr_id), b"a leftover").await;
    worker.handler.job.archiver.clock = Clock::fixed(now() + Duration::hours(13));
    let delivery = worker.receive_again(&Scenario::message(bdr_id), 2).await;
    assert_eq!(delivery, Delivery::Acknowledged);
    assert_eq!(s.log.outcome()["adopted"], false);
    worker.queue_url().to_owned()
}

/// Makes `cleanup-expired-bdrs` take every path that calls AWS. Returns the URL of its queue.
async fn clean_up(s: &Scenario, variables: &[(&str, &str)]) -> String {
    let (expired, waiting) = (s.request(&[1]).await, s.request(&[1]).await);
    s.put(&s.archive_key(expired), b"zip").await;
    let over = "status = 'ready', expires_at = now() - interval '1 day'";
    s.set(expired, &format!("{over}, file_path = '{}'", s.archive_key(expired))).await;
    s.set(waiting, "created_at = now() - interval '61 minutes'").await;
    let failed = s.request(&[1]).await;
    s.put(&s.archive_key(failed), b"orphan").await;
    s.set(failed, "status = 'failed'").await;
    let stuck = s.request(&[1]).await;
    let long_ago =
        "created_at = now() - interval '7 hours', started_at = now() - interval '7 hours'";
    s.set(stuck, &format!("status = 'processing', {long_ago}")).await;
    let mut cleaner = Cleaner::new(s, variables).await;
    cleaner.handler.cleanup.clock = Clock::fixed(now() + Duration::hours(25));
    let report = cleaner.run(json!({})).await.unwrap();
    for done in ["cleaned_up", "rescued", "republished", "orphans_deleted"] {
        assert_eq!(report[done], 1, "{report}");
    }
    assert_eq!(report["errors"], Value::Null);

    let erased = s.request(&[1]).await;
    for (key, target) in [
        (s.archive_key(erased), json!({ "bdr_id": erased })),
        // Its row is gone.
        (s.archive_key(Uuid::from_u128(1)), json!({ "bdr_id": Uuid::from_u128(1) })),
        (s.archive_key(Uuid::from_u128(2)), json!({ "user_sqid": s.user_sqid })),
    ] {
        s.put(&key, b"zip").await;
        s.s3.create_multipart_upload().bucket(s.bucket()).key(&key).send().await.unwrap();
        let erasure = cleaner.run(json!({ "erase": target })).await.unwrap();
        assert_ne!(erasure["erased"], 0, "{erasure}");
        assert_eq!((&erasure["aborted_uploads"], &erasure["errors"]), (&json!(1), &Value::Null));
    }
    cleaner.queue_url
}

/// Makes `run-canary` check a request and repeat it. Returns the URL of its queue.
async fn run_canary(s: &Scenario, variables: &[(&str, &str)]) -> String {
    let queue = s.sqs.create_queue().queue_name(unique("q")).send();
    let queue_url = queue.await.unwrap().queue_url.unwrap();
    let bdr_id = s.request(&[1]).await;
    let key = s.archive_key(bdr_id);
    s.put(&key, b"zip").await;
    s.set(bdr_id, &format!("status = 'ready', file_path = '{key}', file_size_bytes = 3")).await;
    let report = canary(s, bdr_id, &queue_url, variables).await.unwrap();
    assert_eq!(report["reason"], "the ZIP is not whole, or lacks artworks");
    assert_eq!(s.row(bdr_id).await["status"], "pending");
    queue_url
}

/// Makes `presign-bdr-download` presign a ZIP, and downloads it.
async fn presign_and_download(s: &Scenario, variables: &[(&str, &str)]) {
    let bdr_id = s.request(&[1]).await;
    let key = s.archive_key(bdr_id);
    s.put(&key, b"zip").await;
    s.set(bdr_id, &format!("status = 'ready', file_path = '{key}', file_size_bytes = 3")).await;
    let payload = json!({"bdr_id": bdr_id, "user_id": s.user_id});
    let response = presign(s, variables, payload).await.unwrap();
    let client = local_stack::http::client().unwrap();
    let zip = client.get(response["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(zip.bytes().await.unwrap(), &b"zip"[..]);
}
