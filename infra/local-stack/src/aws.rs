//! MiniStack, which stands in for AWS.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    directory::Directory,
    http,
    python_tools::PythonTools,
    stack::free_port,
    supervisor::{Ending, Server, Supervisor},
    waiting::wait_until,
    workspace::Workspace,
};

pub(crate) const REGION: &str = "us-east-1";
/// MiniStack accepts any; this is the customary one.
pub(crate) const ACCESS_KEY: &str = "test";
/// Found nowhere by chance, so that a test can see that it was not logged.
pub(crate) const SECRET_KEY: &str = "SecretAccessKeyOfTheLocalStack";

const START_PATIENCE: Duration = Duration::from_mins(1);

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
    server: Server,
    directory: PathBuf,
    endpoint: String,
}

impl AwsStandIn {
    /// Starts it; the functions in it will log from `log_level` on.
    pub(crate) async fn start(
        workspace: &Workspace,
        supervisor: &Supervisor,
        tools: &PythonTools,
        log_level: &str,
    ) -> Result<Self> {
        const ATTEMPTS: usize = 3;
        let client = http::client()?;
        for attempt in 1..=ATTEMPTS {
            let port = free_port()?;
            let endpoint = format!("http://127.0.0.1:{port}");
            let (mut server, directory) =
                start_server(workspace, supervisor, tools, log_level, port)?;
            let health = format!("{endpoint}/_ministack/health");
            let ready = wait_until("MiniStack's first answer", START_PATIENCE, async || {
                server.check_alive()?;
                let answer = client.get(&health).timeout(Duration::from_secs(5)).send().await;
                Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
            })
            .await;
            match ready {
                Ok(()) => return Ok(Self { server, directory, endpoint }),
                // Somebody else took the port between our choice and its use.
                Err(_) if attempt < ATTEMPTS && server.log_tail().contains("already in use") => {}
                Err(error) => return Err(server.explain(error)),
            }
        }
        bail!("no free port was found for the AWS stand-in")
    }

    /// For files that may go when it goes.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn log_tail(&self) -> String {
        self.server.log_tail()
    }

    pub(crate) fn check_alive(&mut self) -> Result<()> {
        self.server.check_alive().map_err(|error| self.server.explain(error))
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.server.stop().await
    }

    /// For clients of the stand-in. Each call gives a configuration with connections of its own,
    /// which belong to the runtime it is used on.
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

    /// What SES was given to send, oldest first.
    pub(crate) async fn sent_emails(&self) -> Result<Vec<SentEmail>> {
        #[derive(Deserialize)]
        struct Answer {
            messages: std::collections::BTreeMap<String, Vec<SentEmail>>,
        }
        let request = http::client()?.get(format!("{}/_ministack/ses/messages", self.endpoint));
        let answer: Answer = answer(request).await.context("the sent e-mails cannot be listed")?;
        Ok(answer.messages.into_values().flatten().collect())
    }

    /// What the functions have written to their log groups; an invocation's lines come when it is
    /// over.
    pub(crate) async fn function_logs(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let groups =
            self.logs("DescribeLogGroups", &json!({"logGroupNamePrefix": "/aws/lambda/"})).await?;
        for group in groups["logGroups"].as_array().into_iter().flatten() {
            let mut token = Value::Null;
            loop {
                let mut query = json!({"logGroupName": group["logGroupName"]});
                if token.is_string() {
                    query["nextToken"] = token;
                }
                let mut page = self.logs("FilterLogEvents", &query).await?;
                lines.extend(page["events"].as_array().into_iter().flatten().filter_map(|event| {
                    Some((event["timestamp"].as_i64()?, event["message"].as_str()?.to_owned()))
                }));
                token = page["nextToken"].take();
                if !token.is_string() {
                    break;
                }
            }
        }
        lines.sort_by_key(|(timestamp, _)| *timestamp);
        Ok(lines.into_iter().map(|(_, line)| line).collect())
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

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T> {
    Ok(request.send().await?.error_for_status()?.json().await?)
}

fn start_server(
    workspace: &Workspace,
    supervisor: &Supervisor,
    tools: &PythonTools,
    log_level: &str,
    port: u16,
) -> Result<(Server, PathBuf)> {
    let (directory, log) = Directory::create(&workspace.scratch().join("run"), "aws")?;
    let ending = Ending {
        stop_signal: "SIGTERM",
        patience: Duration::from_secs(5),
        orphan_signal: "SIGKILL",
        uid: None,
    };
    let mut command = supervisor.server(&directory, &ending, tools.python());
    command
        .args(["-I", "-m", "ministack"])
        // The functions inherit it: what is not in the template must not reach them.
        .env_clear()
        .envs([
            ("PATH", PathBuf::from("/usr/bin:/bin")),
            ("LANG", "C.UTF-8".into()),
            ("TZ", ":UTC".into()),
            ("HOME", directory.path().into()),
            // It unpacks the functions here, and leaves them there.
            ("TMPDIR", directory.path().into()),
        ])
        .envs([
            ("GATEWAY_PORT", port.to_string().as_str()),
            ("BIND_HOST", "127.0.0.1"),
            ("MINISTACK_HOST", "127.0.0.1"),
            ("MINISTACK_REGION", REGION),
            ("LAMBDA_EXECUTOR", "local"),
            // Handed on to the functions, so that they call it and not AWS.
            ("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}")),
            // By which it checks signatures, and handed on as well.
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            // Lambda sets these from a function's LoggingConfig; MiniStack does not.
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", log_level),
            // Two services that would listen on fixed ports.
            ("IOT_MTLS_ENABLED", "0"),
            ("SFTP_ENABLED", "0"),
        ]);
    let server = Server::start("The AWS stand-in", command, &directory, log)?;
    Ok((server, directory.path().to_owned()))
}

/// Gives a command the environment of somebody with an account in the stand-in, and nothing else:
/// no profile, proxy or credentials of the person who runs us.
pub(crate) fn as_client<'a>(command: &'a mut Command, endpoint: &str) -> &'a mut Command {
    command.env_clear().envs([
        ("PATH", "/usr/bin:/bin"),
        ("LANG", "C.UTF-8"),
        ("HOME", "/nonexistent"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_PAGER", ""),
    ])
}
