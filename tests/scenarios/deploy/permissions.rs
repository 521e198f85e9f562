//! The roles of the template allow exactly the calls that the functions make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bdr_tests::in_process::{Cleaner, now, presign};
use bdr_tests::proxy::HttpProxy;
use bdr_tests::scenario::unique;
use bdr_tests::{Artwork, Delivery, Scenario, scenario_apart};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use shared::clock::Clock;
use time::Duration;
use uuid::Uuid;

use super::iam::{Grant, grants, needs, needs_of_key};
use crate::deploy::deployed_stack::{aws, deploy, package};
use crate::deploy::secrets::create_secret;

/// Granted actions that the functions themselves do not call: role, action, a part of the resource,
/// and who needs it.
const NOT_BY_THE_FUNCTION: [(&str, &str, &str, &str); 12] = [
    ("ProcessBdrJobRole", "sqs:ReceiveMessage", "-requests", "Lambda's event source"),
    ("ProcessBdrJobRole", "sqs:DeleteMessage", "-requests", "Lambda's event source"),
    ("ProcessBdrJobRole", "sqs:GetQueueAttributes", "-requests", "Lambda's event source"),
    (
        "ProcessBdrJobRole",
        "kms:Decrypt",
        ":key/",
        "Lambda's event source, for the queue's messages",
    ),
    ("ProcessBdrJobRole", "ses:SendEmail", ":configuration-set/*", "a sender that has one"),
    ("ProcessBdrJobRole", "logs:CreateLogStream", "", "Lambda"),
    ("ProcessBdrJobRole", "logs:PutLogEvents", "", "Lambda"),
    ("CleanupExpiredBdrsRole", "sqs:SendMessage", "CleanupFailureQueue", "Lambda, for failed runs"),
    ("CleanupExpiredBdrsRole", "logs:CreateLogStream", "", "Lambda"),
    ("CleanupExpiredBdrsRole", "logs:PutLogEvents", "", "Lambda"),
    ("PresignBdrDownloadRole", "logs:CreateLogStream", "", "Lambda"),
    ("PresignBdrDownloadRole", "logs:PutLogEvents", "", "Lambda"),
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

/// A second deployment of the template, with every parameter that adds a policy to the roles: the
/// scenario's bucket as the vault, a secret, a key, a VPC.
struct Deployed {
    /// Physical ids of the resources, by logical id.
    resources: BTreeMap<String, String>,
    key: String,
}

impl Deployed {
    async fn with_everything(s: &Scenario, secret: &str) -> Self {
        let key = aws(s, &["kms", "create-key"]).await["KeyMetadata"]["Arn"].clone();
        let key = key.as_str().unwrap().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("template.json");
        package(s, &file).await;
        let stack = unique("with-everything-");
        let secret = format!("DatabaseSecretArn={secret}");
        let bucket = format!("VaultBucketName={}", s.bucket());
        let with_key = format!("KmsKeyArn={key}");
        let sender = "EmailFrom=Makapix <no-reply@makapix.club>";
        let vpc =
            ["VpcSubnetIds=subnet-0123456a,subnet-0123456b", "VpcSecurityGroupIds=sg-0123456c"];
        let parameters = [&secret, &bucket, &with_key, sender];
        deploy(s, &stack, &file, &[&parameters[..], &vpc].concat()).await;
        let cloudformation = aws_sdk_cloudformation::Client::new(&s.stack.sdk_config());
        let resources = cloudformation.describe_stack_resources().stack_name(&stack);
        let resources = resources.send().await.unwrap().stack_resources.unwrap_or_default();
        let ids = resources
            .into_iter()
            .map(|it| (it.logical_resource_id.unwrap(), it.physical_resource_id.unwrap()));
        Self { resources: ids.collect(), key }
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

    /// Checks that the API's policy allows what docs/api.md describes, and nothing else.
    async fn check_api_policy(&self, s: &Scenario) {
        let iam = aws_sdk_iam::Client::new(&s.stack.sdk_config());
        let arn = &self.resources["ApiPolicy"];
        let version = iam.get_policy().policy_arn(arn).send().await.unwrap().policy.unwrap();
        let version = iam
            .get_policy_version()
            .policy_arn(arn)
            .version_id(version.default_version_id.unwrap())
            .send();
        let version = version.await.unwrap().policy_version.unwrap();
        let document = percent_decode_str(version.document.as_deref().unwrap());
        let document = serde_json::from_str(&document.decode_utf8().unwrap()).unwrap();
        let allowed: BTreeSet<_> =
            grants(document).into_iter().map(|grant| (grant.action, grant.resource)).collect();
        let on =
            |service: &str, name: &str| format!("arn:aws:{service}:us-east-1:000000000000:{name}");
        let invoke = |function: &str| {
            let function = format!("function:{}", self.resources[function]);
            ("lambda:InvokeFunction".to_owned(), on("lambda", &function))
        };
        let needed = [
            ("sqs:SendMessage".to_owned(), on("sqs", self.queue())),
            invoke("PresignBdrDownloadFunction"),
            invoke("CleanupExpiredBdrsFunction"),
            ("kms:Decrypt".to_owned(), self.key.clone()),
            ("kms:GenerateDataKey".to_owned(), self.key.clone()),
        ];
        assert_eq!(allowed, BTreeSet::from(needed));
    }

    /// Returns the queue's name, which is the last part of its URL and its ARN.
    fn queue(&self) -> &str {
        self.resources["BdrQueue"].rsplit('/').next().unwrap()
    }

    /// Checks that the role allows all of these calls and, apart from [`NOT_BY_THE_FUNCTION`], no
    /// other. The functions used the queue at `queue_url`.
    async fn check(&self, s: &Scenario, role: &str, calls: &HttpProxy, queue_url: &str) {
        let (_, queue) = queue_url.rsplit_once('/').unwrap();
        let grants = self.grants(s, role).await;
        let (for_lambda, grants): (Vec<_>, Vec<_>) =
            grants.into_iter().partition(|grant| grant.denied_to_code);
        let for_lambda = for_lambda.into_iter().map(|grant| grant.action);
        let for_lambda: Vec<_> = for_lambda.collect::<BTreeSet<_>>().into_iter().collect();
        assert_eq!(for_lambda, FOR_A_VPC, "{role}");
        let mut used = vec![false; grants.len()];
        for call in calls.exchanges() {
            for mut need in needs(&call).into_iter().chain(needs_of_key(&call, &self.key)) {
                need.resource = need.resource.replace(queue, self.queue());
                let allowed: Vec<bool> = grants.iter().map(|grant| grant.allows(&need)).collect();
                assert!(allowed.contains(&true), "{role} does not allow {need:?}");
                used.iter_mut().zip(allowed).for_each(|(used, allowed)| *used |= allowed);
            }
        }
        let mut unused: Vec<&Grant> =
            grants.iter().zip(used).filter(|(_, used)| !used).map(|(grant, _)| grant).collect();
        for (_, action, resource, by) in NOT_BY_THE_FUNCTION.iter().filter(|e| e.0 == role) {
            let before = unused.len();
            unused.retain(|g| g.action != *action || !g.resource.contains(resource));
            assert_eq!(unused.len(), before - 1, "{role} grants {action} ({by})");
        }
        assert!(unused.is_empty(), "{role} allows unused actions: {unused:?}");
    }
}

#[test]
fn the_roles_allow_exactly_what_the_functions_call() {
    scenario_apart(async |mut s| {
        let url = json!({ "url": s.database_url });
        let secret = create_secret(&s, &url.to_string()).await;
        let deployed = Deployed::with_everything(&s, &secret).await;
        let by_secret = [("DATABASE_URL", ""), ("DATABASE_SECRET_ARN", secret.as_str())];
        let endpoint = s.stack.endpoint();

        let recorder = HttpProxy::start(Arc::default(), endpoint, "").await.unwrap();
        s.aws = recorder.sdk_config(s.stack);
        let queue_url = process(&s, &by_secret).await;
        deployed.check(&s, "ProcessBdrJobRole", &recorder, &queue_url).await;

        let recorder = HttpProxy::start(Arc::default(), endpoint, "").await.unwrap();
        s.aws = recorder.sdk_config(s.stack);
        let queue_url = clean_up(&s, &by_secret).await;
        deployed.check(&s, "CleanupExpiredBdrsRole", &recorder, &queue_url).await;

        let recorder = HttpProxy::start(Arc::default(), endpoint, "").await.unwrap();
        s.aws = recorder.sdk_config(s.stack);
        presign_and_download(&s, &by_secret).await;
        deployed.check(&s, "PresignBdrDownloadRole", &recorder, "/none").await;

        deployed.check_api_policy(&s).await;
    });
}

/// Makes `process-bdr-job` take every path that calls AWS. Returns the URL of its queue.
async fn process(s: &Scenario, variables: &[(&str, &str)]) -> String {
    let mut worker = s.worker(variables).await;
    let small = s.artwork(Artwork::default()).await;
    let large = s.artwork(Artwork { file: Some(&vec![1; 9 << 20]), ..Artwork::default() }).await;
    let missing = s.artwork(Artwork { file: None, ..Artwork::default() }).await;
    for posts in [vec![small, missing], vec![small, large]] {
        let bdr_id = s.request(&posts).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.log.outcome()["email"], "sent");
    }
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
    s.set(waiting, "created_at = now() - interval '2 hours'").await;
    let failed = s.request(&[1]).await;
    s.put(&s.archive_key(failed), b"orphan").await;
    s.set(failed, "status = 'failed'").await;
    let mut cleaner = Cleaner::new(s, variables).await;
    cleaner.handler.cleanup.clock = Clock::fixed(now() + Duration::hours(25));
    let report = cleaner.run(json!({})).await.unwrap();
    for done in ["cleaned_up", "republished", "orphans_deleted"] {
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
