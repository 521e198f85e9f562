//! The permissions of the functions' roles, by IAM policy simulation.
//!
//! Actions that a policy allows under a condition are left out (e-mails from the sender, the cleanup's
//! listing of archives), because the simulation lacks the request that the condition refers to. Logs and
//! networks are left out too: without them no function runs.

use anyhow::{Context as _, Result};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::PolicyEvaluationDecisionType;

use super::diagnosis::Diagnosis;
use super::{functions, queues};
use crate::operator::Operator;

const CHECK: &str = "permissions";

/// A resource of the deployment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Resource {
    Artwork,
    Archive,
    Bucket,
    Queue,
    CleanupFailureQueue,
}

/// Resources and the actions that a function needs on each, as `template.yaml` allows them.
pub(super) type RequiredActions = &'static [(Resource, &'static [&'static str])];

const PROCESS: RequiredActions = &[
    (Resource::Artwork, &["s3:GetObject"]),
    (Resource::Archive, &["s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"]),
    (Resource::Bucket, &["s3:ListBucket", "s3:ListBucketMultipartUploads"]),
    (
        Resource::Queue,
        &[
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
        ],
    ),
];
const CLEANUP: RequiredActions = &[
    (Resource::Archive, &["s3:DeleteObject", "s3:GetObject", "s3:AbortMultipartUpload"]),
    (Resource::Bucket, &["s3:ListBucketMultipartUploads"]),
    (Resource::Queue, &["sqs:SendMessage"]),
    (Resource::CleanupFailureQueue, &["sqs:SendMessage"]),
];
const PRESIGN: RequiredActions = &[(Resource::Archive, &["s3:GetObject"])];
/// Those of run-canary.
pub(super) const CANARY: RequiredActions = &[
    (Resource::Archive, &["s3:GetObject", "s3:DeleteObject"]),
    (Resource::Queue, &["sqs:SendMessage"]),
];

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    let outputs = &operator.outputs;
    for (name, function, required) in [
        ("process-bdr-job", outputs.process_function().await, PROCESS),
        ("cleanup-expired-bdrs", outputs.cleanup_function().await, CLEANUP),
        ("presign-bdr-download", outputs.presign_function().await, PRESIGN),
    ] {
        one(operator, diagnosis, name, function, required).await;
    }
}

/// Checks the role of a function.
pub(super) async fn one(
    operator: &Operator,
    diagnosis: &mut Diagnosis,
    name: &str,
    function: Result<String>,
    required: RequiredActions,
) {
    let iam = Client::new(&operator.connection.aws);
    let missing = async { missing(operator, &iam, &function?, required).await };
    match missing.await {
        Ok(missing) if missing.is_empty() => {
            diagnosis.ok(CHECK, format!("{name} has the required permissions"));
        }
        Ok(missing) => {
            let advice =
                "Deploy template.yaml again, or check the account's permissions boundaries.";
            diagnosis.error(CHECK, format!("{name} lacks {}", missing.join(", ")), advice);
        }
        Err(error) => {
            let advice = "To check it, allow lambda:GetFunctionConfiguration, \
                          sqs:GetQueueAttributes and iam:SimulatePrincipalPolicy.";
            diagnosis.not_checked(CHECK, &error, advice);
        }
    }
}

/// Returns the required permissions that the role of `function` lacks.
async fn missing(
    operator: &Operator,
    iam: &Client,
    function: &str,
    required: RequiredActions,
) -> Result<Vec<String>> {
    let role = functions::configuration(operator, function).await?.role;
    let role = role.with_context(|| format!("Lambda returned no role of {function}"))?;
    let secret = operator.function_environment().await?.optional("DATABASE_SECRET_ARN");
    let mut missing = Vec::new();
    for &(resource, actions) in required {
        let arn = arn(operator, resource, &role).await?;
        missing.extend(denied(iam, &role, &arn, actions).await?);
    }
    if let Some(secret) = secret {
        missing.extend(denied(iam, &role, secret, &["secretsmanager:GetSecretValue"]).await?);
    }
    Ok(missing)
}

async fn arn(operator: &Operator, resource: Resource, role: &str) -> Result<String> {
    let partition = role.split(':').nth(1).unwrap_or("aws");
    let bucket =
        async || anyhow::Ok(format!("arn:{partition}:s3:::{}", operator.outputs.bucket().await?));
    Ok(match resource {
        Resource::Bucket => bucket().await?,
        Resource::Artwork => format!("{}/artwork.png", bucket().await?),
        Resource::Archive => format!("{}/bdr/artist/archive.zip", bucket().await?),
        Resource::Queue => queues::arn(operator, operator.outputs.queue_url().await).await?,
        Resource::CleanupFailureQueue => {
            queues::arn(operator, operator.outputs.cleanup_failure_queue_url().await).await?
        }
    })
}

/// Returns the actions on a resource that IAM denies the role.
async fn denied(iam: &Client, role: &str, resource: &str, actions: &[&str]) -> Result<Vec<String>> {
    let call = iam.simulate_principal_policy().policy_source_arn(role).resource_arns(resource);
    let actions = actions.iter().map(|action| (*action).to_owned()).collect();
    let response = call.set_action_names(Some(actions)).send().await;
    let response = response.context("cannot simulate the role's policies")?;
    let denied = response
        .evaluation_results
        .unwrap_or_default()
        .into_iter()
        .filter(|result| result.eval_decision != PolicyEvaluationDecisionType::Allowed);
    Ok(denied.map(|result| format!("{} {resource}", result.eval_action_name)).collect())
}
