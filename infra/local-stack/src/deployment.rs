//! Deploys `template.yaml` as an operator does: the AWS command line, nothing of its own.

use std::{collections::BTreeMap, env, fs};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{
    aws::{AwsStandIn, as_client},
    lifecycle,
    python_tools::PythonTools,
    stack::EMAIL_FROM,
    supervisor::{self, Supervisor},
    workspace::Workspace,
};

/// Name of the stack.
pub const STACK: &str = "makapix-bdr";
const ARTIFACTS: &str = "artifacts";

/// Deploys the template with `parameters`, and returns the stack's outputs by name.
pub(crate) async fn deploy(
    workspace: &Workspace,
    supervisor: &Supervisor,
    tools: &PythonTools,
    aws: &AwsStandIn,
    parameters: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    prepare_account(aws).await?;

    let cloudformation = |arguments: &[&str]| {
        let mut command = supervisor.command(tools.aws());
        as_client(&mut command, aws.endpoint())
            .arg("cloudformation")
            .args(arguments)
            .current_dir(workspace.root());
        command
    };
    let packaged = aws.directory().join("packaged.json");
    let packaged = packaged.to_str().with_context(|| {
        format!("{} is not UTF-8, which the AWS command line needs", packaged.display())
    })?;
    let package = cloudformation(&[
        "package",
        "--use-json",
        "--template-file=template.yaml",
        &format!("--s3-bucket={ARTIFACTS}"),
        &format!("--output-template-file={packaged}"),
    ]);
    supervisor::succeed("`aws cloudformation package`", package).await?;

    let mut deploy = cloudformation(&[
        "deploy",
        &format!("--template-file={packaged}"),
        // Beyond 51,200 bytes a template comes from a bucket ("CloudFormation quotas").
        &format!("--s3-bucket={ARTIFACTS}"),
        &format!("--stack-name={STACK}"),
        "--capabilities",
        "CAPABILITY_IAM",
        "CAPABILITY_AUTO_EXPAND",
        "--parameter-overrides",
    ]);
    deploy.args(parameters.iter().map(|(name, value)| format!("{name}={value}")));
    supervisor::succeed("`aws cloudformation deploy`", deploy).await.with_context(|| {
        format!(
            "template.yaml cannot be deployed. The AWS stand-in's last lines:\n{}\n",
            aws.log_tail()
        )
    })?;

    let describe =
        cloudformation(&["describe-stacks", &format!("--stack-name={STACK}"), "--output=json"]);
    let description = supervisor::succeed("`aws cloudformation describe-stacks`", describe).await?;
    let outputs = outputs(&description)?;
    let template = fs::read(packaged).with_context(|| format!("{packaged} cannot be read"))?;
    let template = serde_json::from_slice(&template)?;
    let bucket = outputs.get("VaultBucketName").context("template.yaml has no vault")?;
    lifecycle::apply(&s3(aws), bucket, &template, parameters).await?;
    Ok(outputs)
}

fn s3(aws: &AwsStandIn) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(&aws.sdk_config()).force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// What an account has before anybody deploys to it: a bucket for the code, a verified sender.
async fn prepare_account(aws: &AwsStandIn) -> Result<()> {
    let made = s3(aws).create_bucket().bucket(ARTIFACTS).send().await;
    made.context("the bucket for the functions' code cannot be made")?;
    aws_sdk_ses::Client::new(&aws.sdk_config())
        .verify_email_identity()
        .email_address(EMAIL_FROM)
        .send()
        .await
        .context("the sender of the e-mails cannot be verified")?;
    Ok(())
}

/// The processor we run on, as the template calls it.
pub(crate) fn architecture() -> &'static str {
    match env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

fn outputs(description: &str) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Description {
        stacks: Vec<Stack>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Stack {
        #[serde(default)]
        outputs: Vec<Output>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        output_key: String,
        output_value: String,
    }

    let description: Description = serde_json::from_str(description)
        .context("`aws cloudformation describe-stacks` answered something unexpected")?;
    let outputs = description.stacks.into_iter().flat_map(|stack| stack.outputs);
    Ok(outputs.map(|output| (output.output_key, output.output_value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_by_name() {
        let description = r#"{"Stacks": [{"StackName": "x", "Outputs": [
            {"OutputKey": "QueueUrl", "OutputValue": "http://q", "Description": "queue"},
            {"OutputKey": "VaultBucketName", "OutputValue": "vault"}]}]}"#;
        let outputs = outputs(description).unwrap();
        assert_eq!(outputs["QueueUrl"], "http://q");
        assert_eq!(outputs["VaultBucketName"], "vault");
    }
}
