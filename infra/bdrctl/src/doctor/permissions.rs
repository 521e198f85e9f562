//! The roles of the functions: that they may do what the functions do. IAM is asked what it would
//! decide; nothing is done. Left out is what a policy allows under a condition (e-mails from the sender,
//! the cleanup's listing of archives): IAM knows the condition, but not the request. So are logs and networks:
//! without them there is no function that runs.

use anyhow::{Context as _, Result};
use aws_sdk_iam::Client;
use aws_sdk_iam::types::PolicyEvaluationDecisionType;

use super::finding::Report;
use super::{functions, queues};
use crate::operator::Operator;

const CHECK: &str = "permissions";

/// Something of the deployment.
#[derive(Debug, Clone, Copy)]
enum Resource {
    Artwork,
    Archive,
    Bucket,
    Queue,
    CleanupFailureQueue,
}

/// What a function does, and to what, as `template.yaml` allows it.
type Needs = &'static [(Resource, &'static [&'static str])];

const PROCESS: Needs = &[
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
const CLEANUP: Needs = &[
    (Resource::Archive, &["s3:DeleteObject", "s3:GetObject"]),
    (Resource::Queue, &["sqs:SendMessage"]),
    (Resource::CleanupFailureQueue, &["sqs:SendMessage"]),
];
const PRESIGN: Needs = &[(Resource::Archive, &["s3:GetObject"])];

pub(super) async fn check(operator: &Operator, report: &mut Report) {
    let place = &operator.place;
    let iam = Client::new(&operator.reached.aws);
    for (name, function, needs) in [
        ("process-bdr-job", place.process_function().await, PROCESS),
        ("cleanup-expired-bdrs", place.cleanup_function().await, CLEANUP),
        ("presign-bdr-download", place.presign_function().await, PRESIGN),
    ] {
        let lacking = async { lacking(operator, &iam, &function?, needs).await };
        match lacking.await {
            Ok(lacking) if lacking.is_empty() => {
                report.ok(CHECK, format!("{name} may do what it does"));
            }
            Ok(lacking) => {
                let advice = "Deploy template.yaml again; else see to the account's boundaries.";
                report.error(CHECK, format!("{name} lacks {}", lacking.join(", ")), advice);
            }
            Err(error) => {
                let advice = "Needs lambda:GetFunctionConfiguration, sqs:GetQueueAttributes and \
                              iam:SimulatePrincipalPolicy.";
                report.not_checked(CHECK, &error, advice);
            }
        }
    }
}

/// What the role of `function` may not do of what it needs.
async fn lacking(
    operator: &Operator,
    iam: &Client,
    function: &str,
    needs: Needs,
) -> Result<Vec<String>> {
    let role = functions::configuration(operator, function).await?.role;
    let role = role.with_context(|| format!("Lambda does not tell the role of {function}"))?;
    let secret = operator.function_environment().await?.optional("DATABASE_SECRET_ARN");
    let mut lacking = Vec::new();
    for &(resource, actions) in needs {
        let arn = arn(operator, resource, &role).await?;
        lacking.extend(denied(iam, &role, &arn, actions).await?);
    }
    if let Some(secret) = secret {
        lacking.extend(denied(iam, &role, secret, &["secretsmanager:GetSecretValue"]).await?);
    }
    Ok(lacking)
}

async fn arn(operator: &Operator, resource: Resource, role: &str) -> Result<String> {
    let partition = role.split(':').nth(1).unwrap_or("aws");
    let bucket =
        async || anyhow::Ok(format!("arn:{partition}:s3:::{}", operator.place.bucket().await?));
    Ok(match resource {
        Resource::Bucket => bucket().await?,
        Resource::Artwork => format!("{}/artwork.png", bucket().await?),
        Resource::Archive => format!("{}/bdr/artist/archive.zip", bucket().await?),
        Resource::Queue => queues::arn(operator, operator.place.queue_url().await).await?,
        Resource::CleanupFailureQueue => {
            queues::arn(operator, operator.place.cleanup_failure_queue_url().await).await?
        }
    })
}

/// The actions on a resource that IAM would not allow the role.
async fn denied(iam: &Client, role: &str, resource: &str, actions: &[&str]) -> Result<Vec<String>> {
    let asked = iam.simulate_principal_policy().policy_source_arn(role).resource_arns(resource);
    let actions = actions.iter().map(|action| (*action).to_owned()).collect();
    let answer = asked.set_action_names(Some(actions)).send().await;
    let answer = answer.context("IAM does not say what it would decide")?;
    let denied = answer
        .evaluation_results
        .unwrap_or_default()
        .into_iter()
        .filter(|result| result.eval_decision != PolicyEvaluationDecisionType::Allowed);
    Ok(denied.map(|result| format!("{} {resource}", result.eval_action_name)).collect())
}
