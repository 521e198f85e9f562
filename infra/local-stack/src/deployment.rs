//! Deploys `template.yaml` as an operator does, with the AWS command line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_sdk_cloudformation::types::Stack;
use serde_json::Value;

use crate::{
    aws::AwsStandIn,
    python_tools::PythonTools,
    supervisor::{self, Supervisor},
};

/// Name of the CloudFormation stack.
pub const STACK: &str = "makapix-bdr";
/// Sender of the e-mails, unless [`crate::Options`] set another one.
pub const EMAIL_FROM: &str = "no-reply@makapix.club";

/// The processor of this machine, in the template's words.
pub(crate) const ARCHITECTURE: &str =
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };

/// Bucket for the functions' code.
const ARTIFACTS: &str = "artifacts";

/// Deploys the template with `parameters`, and returns the stack's outputs by name.
pub(crate) async fn deploy(
    supervisor: &Supervisor,
    tools: &PythonTools,
    aws: &AwsStandIn,
    parameters: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    prepare_account(aws).await?;

    let root = supervisor.workspace.root();
    let cloudformation = |arguments: &[&str]| {
        let mut command = supervisor.command(tools.aws());
        aws.make_client(&mut command);
        command.arg("cloudformation").args(arguments).current_dir(root);
        command
    };
    let file = aws.server.directory().join("packaged.json");
    let packaged = file.display();
    let package = cloudformation(&[
        "package",
        "--use-json",
        "--template-file=template.yaml",
        &format!("--s3-bucket={ARTIFACTS}"),
        &format!("--output-template-file={packaged}"),
    ]);
    supervisor::succeed("`aws cloudformation package`", package).await?;
    let template = std::fs::read(&file).context("failed to read the packaged template")?;
    std::fs::write(&file, deployable(&template)?)?;

    let mut deploy = cloudformation(&[
        "deploy",
        &format!("--template-file={packaged}"),
        // A template of more than 51,200 bytes must be in a bucket ("CloudFormation quotas").
        &format!("--s3-bucket={ARTIFACTS}"),
        &format!("--stack-name={STACK}"),
        "--capabilities",
        "CAPABILITY_IAM",
        "CAPABILITY_AUTO_EXPAND",
        "--parameter-overrides",
    ]);
    deploy.args(parameters.iter().map(|(name, value)| format!("{name}={value}")));
    supervisor::succeed("`aws cloudformation deploy`", deploy).await.with_context(|| {
        let log = aws.server.log_tail();
        format!("failed to deploy template.yaml. The end of the AWS stand-in's log:\n{log}\n")
    })?;

    let outputs = outputs(aws).await?;
    let vault = outputs.get("VaultBucketName").context("template.yaml has no vault")?;
    // MiniStack's CloudFormation ignores the lifecycle rules in the template.
    let mut lifecycle = supervisor.command(root.join("infra/vault-lifecycle.sh"));
    aws.make_client(&mut lifecycle);
    let programs = tools.aws().with_file_name("");
    lifecycle.env("PATH", format!("{}:/usr/bin:/bin", programs.display())).arg(vault);
    lifecycle.args(parameters.get("ExpiresAfterDays"));
    supervisor::succeed("`infra/vault-lifecycle.sh`", lifecycle).await?;
    Ok(outputs)
}

/// Returns a packaged template without what MiniStack rejects: alarms on metric math and on other alarms.
///
/// # Errors
/// When the template is not JSON.
pub fn deployable(template: &[u8]) -> Result<Vec<u8>> {
    let mut template: Value = serde_json::from_slice(template)?;
    if let Some(resources) = template["Resources"].as_object_mut() {
        resources.retain(|_, resource| {
            resource["Type"] != "AWS::CloudWatch::CompositeAlarm"
                && resource["Properties"].get("Metrics").is_none()
        });
    }
    Ok(serde_json::to_vec(&template)?)
}

/// Creates what an account has before the deployment: a bucket for the code, a verified sender.
async fn prepare_account(aws: &AwsStandIn) -> Result<()> {
    let created = aws.s3().create_bucket().bucket(ARTIFACTS).send().await;
    created.context("failed to create the bucket for the functions' code")?;
    let ses = aws_sdk_ses::Client::new(&aws.sdk_config());
    let verified = ses.verify_email_identity().email_address(EMAIL_FROM).send().await;
    verified.map(drop).context("failed to verify the sender of the e-mails")
}

async fn outputs(aws: &AwsStandIn) -> Result<BTreeMap<String, String>> {
    let cloudformation = aws_sdk_cloudformation::Client::new(&aws.sdk_config());
    let described = cloudformation.describe_stacks().stack_name(STACK).send().await;
    let described = described.context("failed to read the stack's outputs")?;
    let outputs = described.stacks().iter().flat_map(Stack::outputs);
    let outputs = outputs.filter_map(|output| output.output_key().zip(output.output_value()));
    Ok(outputs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
