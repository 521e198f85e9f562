//! MiniStack, which stands in for AWS.

use std::{collections::BTreeMap, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use reqwest::RequestBuilder;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    directory::Directory,
    http,
    python_tools::PythonTools,
    server::{Ending, Server},
    supervisor::Supervisor,
};

const REGION: &str = "us-east-1";
/// MiniStack accepts any; this is the customary one.
const ACCESS_KEY: &str = "test";
/// Occurs nowhere by chance, so that a test can show that it was not logged.
const SECRET_KEY: &str = "SecretAccessKeyOfTheLocalStack";

/// An e-mail that a function has sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SentEmail {
    /// The sender.
    pub source: String,
    /// The recipients.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The text part.
    #[serde(rename = "BodyText", default)]
    pub text: String,
    /// The HTML part.
    #[serde(rename = "BodyHtml")]
    pub html: Option<String>,
}

/// The running stand-in.
#[derive(Debug)]
pub(crate) struct AwsStandIn {
    pub(crate) server: Server,
    pub(crate) endpoint: String,
}

impl AwsStandIn {
    /// Starts it on `port` (0: a free one); the functions in it log from `log_level` on.
    pub(crate) async fn start(
        supervisor: &Supervisor,
        tools: &PythonTools,
        log_level: &str,
        port: u16,
    ) -> Result<Self> {
        let client = http::client()?;
        let start = |port| start_server(supervisor, tools, log_level, port);
        let is_ready = async |port| {
            let health = client.get(format!("{}/_ministack/health", endpoint(port)));
            let answer = health.timeout(Duration::from_secs(5)).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        let (server, port) = Server::start_on_port(port, start, is_ready).await?;
        Ok(Self { server, endpoint: endpoint(port) })
    }

    /// Returns the environment of an AWS client in any language.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_DEFAULT_REGION", REGION),
        ]
    }

    /// Replaces a command's environment by that of a client with an account in the stand-in: no
    /// profile, proxy or credentials of the user reach it.
    pub(crate) fn make_client(&self, command: &mut Command) {
        command.env_clear().envs(self.environment()).envs([
            ("PATH", "/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("HOME", "/nonexistent"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_PAGER", ""),
        ]);
    }

    /// Returns a configuration for clients on one runtime, with connections of its own.
    pub(crate) fn sdk_config(&self) -> SdkConfig {
        let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "local-stack");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&self.endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// Returns an S3 client for use on one runtime.
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.sdk_config()).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Returns the e-mails that SES has accepted, oldest first.
    pub(crate) async fn sent_emails(&self) -> Result<Vec<SentEmail>> {
        #[derive(Deserialize)]
        struct Answer {
            messages: BTreeMap<String, Vec<SentEmail>>,
        }
        let request = http::client()?.get(format!("{}/_ministack/ses/messages", self.endpoint));
        let answer: Answer = answer(request).await.context("failed to list the sent e-mails")?;
        Ok(answer.messages.into_values().flatten().collect())
    }

    /// Returns the lines in the functions' log groups, oldest first. The lines of an invocation
    /// appear when it has ended.
    pub(crate) async fn function_logs(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for group in self.function_log_groups().await? {
            match self.log_events(&group).await {
                Ok(events) => lines.extend(events),
                // The group's stack may have been deleted meanwhile.
                Err(error) if self.function_log_groups().await?.contains(&group) => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        Ok(in_order(lines))
    }

    async fn function_log_groups(&self) -> Result<Vec<String>> {
        let query = json!({"logGroupNamePrefix": "/aws/lambda/"});
        let groups = self.logs("DescribeLogGroups", &query).await?;
        let names = groups["logGroups"].as_array().into_iter().flatten();
        Ok(names.filter_map(|it| it["logGroupName"].as_str().map(str::to_owned)).collect())
    }

    /// Returns the lines of a log group, oldest first.
    pub(crate) async fn log_group(&self, name: &str) -> Result<Vec<String>> {
        Ok(in_order(self.log_events(name).await?))
    }

    /// Returns the lines of a log group with their timestamps.
    async fn log_events(&self, name: &str) -> Result<Vec<(i64, String)>> {
        let mut lines = Vec::new();
        let mut query = json!({"logGroupName": name});
        loop {
            let mut page = self.logs("FilterLogEvents", &query).await?;
            lines.extend(page["events"].as_array().into_iter().flatten().filter_map(|event| {
                Some((event["timestamp"].as_i64()?, event["message"].as_str()?.to_owned()))
            }));
            query["nextToken"] = page["nextToken"].take();
            if query["nextToken"].is_null() {
                return Ok(lines);
            }
        }
    }

    async fn logs(&self, operation: &str, body: &Value) -> Result<Value> {
        let request = http::client()?
            .post(&self.endpoint)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Logs_20140328.{operation}"))
            .body(body.to_string());
        answer(request).await.with_context(|| format!("{operation} failed"))
    }
}

/// Returns lines in the order of their timestamps, without them.
fn in_order(mut lines: Vec<(i64, String)>) -> Vec<String> {
    lines.sort_by_key(|(timestamp, _)| *timestamp);
    lines.into_iter().map(|(_, line)| line).collect()
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    Ok(request.send().await?.error_for_status()?.json().await?)
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn start_server(
    supervisor: &Supervisor,
    tools: &PythonTools,
    log_level: &str,
    port: u16,
) -> Result<Server> {
    let directory = Directory::create(&supervisor.workspace.scratch().join("run"), "aws")?;
    let ending = Ending {
        stop_signal: "SIGTERM",
        patience: Duration::from_secs(5),
        orphan_signal: "SIGKILL",
        uid: None,
    };
    let mut command = ending.command(supervisor, &directory, tools.python());
    command
        .args(["-I", "-m", "ministack"])
        // The functions inherit the environment: what is not in the template must not reach them.
        .env_clear()
        .env("HOME", directory.path())
        // MiniStack unpacks the functions here, and does not remove them.
        .env("TMPDIR", directory.path())
        .envs([
            ("PATH", "/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("TZ", ":UTC"),
            ("GATEWAY_PORT", port.to_string().as_str()),
            ("BIND_HOST", "127.0.0.1"),
            ("MINISTACK_HOST", "127.0.0.1"),
            ("MINISTACK_REGION", REGION),
            ("LAMBDA_EXECUTOR", "local"),
            // Inherited by the functions, so that they call MiniStack and not AWS.
            ("AWS_ENDPOINT_URL", &endpoint(port)),
            // The key that signatures are checked with, inherited as well.
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            // Lambda sets these from a function's LoggingConfig; MiniStack does not.
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", log_level),
            // Two services that would listen on fixed ports.
            ("IOT_MTLS_ENABLED", "0"),
            ("SFTP_ENABLED", "0"),
        ]);
    Server::start("the AWS stand-in", command, directory)
}
