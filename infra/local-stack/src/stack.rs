//! The stack itself: starts the parts in the order they need each other, and ends them.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aws_config::SdkConfig;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    aws::{ACCESS_KEY, AwsStandIn, REGION, SECRET_KEY, SentEmail},
    deployment, functions, lambda,
    options::{Options, Step},
    postgres::{self, Postgres},
    python_tools::PythonTools,
    supervisor::Supervisor,
    workspace::Workspace,
};

/// Sender of the e-mails, unless [`Options`] say otherwise.
pub const EMAIL_FROM: &str = "no-reply@makapix.club";

/// PostgreSQL, the AWS stand-in, and the deployed `template.yaml`.
///
/// It ends when it is stopped or dropped, and at the latest with the process. It may stand in a
/// static and be used from several runtimes: it keeps no connection of its own.
#[derive(Debug)]
pub struct LocalStack {
    // Dropped in this order: the functions go before the database they talk to.
    aws: AwsStandIn,
    postgres: Postgres,
    tools: PythonTools,
    outputs: BTreeMap<String, String>,
}

impl LocalStack {
    /// Brings everything up and deploys the template.
    ///
    /// # Errors
    /// When Python is missing, the functions do not compile, a server does not start, or the
    /// template is refused; the message says which, why, and what to do.
    pub async fn start(options: Options) -> Result<Self> {
        let workspace = Workspace::find()?;
        let supervisor = Supervisor::new(&workspace)?;
        let reporter = &options.reporter;

        let log_level = options.parameters.get("LogLevel").map_or("INFO", String::as_str);
        let servers = async {
            let tools = PythonTools::prepare(&workspace, &supervisor, reporter);
            let tools = reporter.step(Step::PythonTools, tools).await?;
            let (postgres, aws) = tokio::try_join!(
                reporter.step(Step::Database, Postgres::start(&workspace, &supervisor, &tools)),
                reporter
                    .step(Step::Aws, AwsStandIn::start(&workspace, &supervisor, &tools, log_level)),
            )?;
            Ok((tools, postgres, aws))
        };
        let functions =
            reporter.step(Step::Functions, functions::build(&workspace, &supervisor, reporter));
        let ((tools, postgres, aws), ()) = tokio::try_join!(servers, functions)?;

        let mut parameters = BTreeMap::from([
            ("Architecture".to_owned(), deployment::architecture().to_owned()),
            ("DatabaseUrl".to_owned(), postgres.functions_url().to_owned()),
            ("EmailFrom".to_owned(), EMAIL_FROM.to_owned()),
        ]);
        parameters.extend(options.parameters.clone());
        let deployment = deployment::deploy(&workspace, &supervisor, &tools, &aws, &parameters);
        let outputs = reporter.step(Step::Deployment, deployment).await?;
        Ok(Self { aws, postgres, tools, outputs })
    }

    /// Where the AWS stand-in listens.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.aws.endpoint()
    }

    /// What tells an AWS client of any language to use the stand-in, as environment variables.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_DEFAULT_REGION", REGION),
        ]
    }

    /// The database as the functions reach it: with the rights of `infra/sql/role.sql`.
    #[must_use]
    pub fn database_url(&self) -> &str {
        self.postgres.functions_url()
    }

    /// The database with all rights, as the API has them.
    #[must_use]
    pub fn admin_database_url(&self) -> &str {
        self.postgres.admin_url()
    }

    /// A connection with all rights, served by the runtime this is called on.
    ///
    /// # Errors
    /// When PostgreSQL has gone.
    pub async fn database(&self) -> Result<Client> {
        postgres::connect(self.admin_database_url()).await
    }

    /// The outputs of `template.yaml` by name.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// Where requests are published.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn queue_url(&self) -> Result<&str> {
        self.output("QueueUrl")
    }

    /// Where the messages end that nobody could process.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn dead_letter_queue_url(&self) -> Result<&str> {
        self.output("DeadLetterQueueUrl")
    }

    /// The vault.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn bucket(&self) -> Result<&str> {
        self.output("VaultBucketName")
    }

    /// An output of `template.yaml`.
    ///
    /// # Errors
    /// When the template has none of this name.
    pub fn output(&self, name: &str) -> Result<&str> {
        let value = self.outputs.get(name).map(String::as_str);
        value.with_context(|| format!("template.yaml has no output named {name}"))
    }

    /// For AWS clients of one's own; S3 clients must also ask for path style.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        self.aws.sdk_config()
    }

    /// An S3 client, for use on one runtime.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.sdk_config()).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// An SQS client, for use on one runtime.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk_config())
    }

    /// Hands `payload` to a deployed function and gives back its answer, as Lambda's Invoke does.
    /// `output` is the template's output that names the function, such as
    /// `PresignBdrDownloadFunctionName`.
    ///
    /// # Errors
    /// When the template has no such output, or the function fails; the message then is its own.
    pub async fn invoke(&self, output: &str, payload: &Value) -> Result<Value> {
        lambda::invoke(self.endpoint(), self.output(output)?, payload).await
    }

    /// The e-mails that the functions have sent, oldest first.
    ///
    /// # Errors
    /// When the stand-in has gone.
    pub async fn sent_emails(&self) -> Result<Vec<SentEmail>> {
        self.aws.sent_emails().await
    }

    /// The lines that the functions have logged. Those of an invocation come when it is over.
    ///
    /// # Errors
    /// When the stand-in has gone.
    pub async fn function_logs(&self) -> Result<Vec<String>> {
        self.aws.function_logs().await
    }

    /// The stand-in's own last lines: a function that fails at its start is reported there.
    #[must_use]
    pub fn aws_log(&self) -> String {
        self.aws.log_tail()
    }

    /// The Python with the tools of `requirements.txt`, among them boto3.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.tools.python()
    }

    /// The AWS command line.
    #[must_use]
    pub fn aws_command(&self) -> PathBuf {
        self.tools.aws()
    }

    /// PostgreSQL's command line.
    #[must_use]
    pub fn psql_command(&self) -> PathBuf {
        self.postgres.psql().to_owned()
    }

    /// A directory for files that may go when the stack goes.
    #[must_use]
    pub fn scratch_directory(&self) -> &Path {
        self.aws.directory()
    }

    /// Fails when one of the servers has stopped by itself.
    ///
    /// # Errors
    /// Names the server, with its last lines.
    pub fn check_alive(&mut self) -> Result<()> {
        self.postgres.check_alive()?;
        self.aws.check_alive()
    }

    /// Ends everything, and returns when nothing is left of it.
    ///
    /// # Errors
    /// When a server does not end in time.
    pub async fn stop(self) -> Result<()> {
        self.aws.stop().await?;
        self.postgres.stop().await
    }
}

/// A port that was free a moment ago. Whoever uses it must expect to find it taken.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// A password that needs no escaping anywhere.
pub(crate) fn secret() -> String {
    Uuid::new_v4().simple().to_string()
}
