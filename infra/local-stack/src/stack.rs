//! The stack itself: starts the parts in the order of their dependencies, and stops them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aws_config::SdkConfig;
use serde_json::Value;
use tokio_postgres::Client;

use crate::{
    aws::{AwsStandIn, SentEmail},
    deployment::{self, ARCHITECTURE, EMAIL_FROM},
    functions, lambda,
    options::{Options, Step},
    postgres::{self, Postgres, Programs},
    python_tools::PythonTools,
    server::Server,
    supervisor::Supervisor,
};

/// The pages that may download from the vault: those of any server on this machine.
const LOCAL_ORIGINS: &str = "http://localhost:*,http://127.0.0.1:*";

/// PostgreSQL, the AWS stand-in, and the deployed `template.yaml`.
///
/// It ends when it is stopped or dropped, and at the latest with the process. It may be in a static
/// and used from several runtimes: it keeps no connection of its own.
#[derive(Debug)]
pub struct LocalStack {
    // Dropped in this order: the functions end before the database that they use.
    aws: AwsStandIn,
    postgres: Postgres,
    database_url: String,
    tools: PythonTools,
    outputs: BTreeMap<String, String>,
}

impl LocalStack {
    /// Starts everything and deploys the template.
    ///
    /// # Errors
    /// When Python is missing, the functions do not compile, a server does not start, or the
    /// template is rejected; the message says which, why, and what to do.
    pub async fn start(options: Options) -> Result<Self> {
        let supervisor = Supervisor::find()?;
        let reporter = &options.reporter;

        let log_level = options.parameters.get("LogLevel").map_or("INFO", String::as_str);
        let servers = async {
            let tools = PythonTools::prepare(&supervisor, reporter);
            let tools = reporter.step(Step::PythonTools, tools).await?;
            let database = async {
                let programs = Programs::Embedded(tools.packages()?);
                let postgres =
                    Postgres::start(&supervisor, &programs, None, options.ports.database).await?;
                let url = postgres.create_tables(&supervisor).await?;
                Ok((postgres, url))
            };
            let aws = AwsStandIn::start(&supervisor, &tools, log_level, options.ports.aws);
            let (database, aws) = tokio::try_join!(
                reporter.step(Step::Database, database),
                reporter.step(Step::Aws, aws),
            )?;
            Ok((tools, database, aws))
        };
        let functions = functions::build(&supervisor, &options);
        let functions = reporter.step(Step::Functions, functions);
        let ((tools, (postgres, database_url), aws), ()) = tokio::try_join!(servers, functions)?;

        let mut parameters = BTreeMap::from([
            ("Architecture".to_owned(), ARCHITECTURE.to_owned()),
            ("DatabaseUrl".to_owned(), database_url.clone()),
            ("EmailFrom".to_owned(), EMAIL_FROM.to_owned()),
            ("SiteOrigins".to_owned(), LOCAL_ORIGINS.to_owned()),
        ]);
        parameters.extend(options.parameters.clone());
        let deployment = deployment::deploy(&supervisor, &tools, &aws, &parameters);
        let outputs = reporter.step(Step::Deployment, deployment).await?;
        Ok(Self { aws, postgres, database_url, tools, outputs })
    }

    /// Returns the endpoint of the AWS stand-in.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.aws.endpoint
    }

    /// Returns the environment variables with which an AWS client in any language uses the stand-in.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &str); 4] {
        self.aws.environment()
    }

    /// Returns the database's URL for the functions, with the rights of `infra/sql/adapters/specification.sql`.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Returns the database's URL with all rights, as the API has them.
    #[must_use]
    pub fn admin_database_url(&self) -> &str {
        &self.postgres.admin_url
    }

    /// Connects with all rights; the present runtime serves the connection.
    ///
    /// # Errors
    /// When PostgreSQL does not respond.
    pub async fn database(&self) -> Result<Client> {
        postgres::connect(self.admin_database_url()).await
    }

    /// Returns the outputs of `template.yaml` by name.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }

    /// Returns the URL of the queue for requests.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn queue_url(&self) -> Result<&str> {
        self.output("QueueUrl")
    }

    /// Returns the URL of the dead-letter queue.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn dead_letter_queue_url(&self) -> Result<&str> {
        self.output("DeadLetterQueueUrl")
    }

    /// Returns the name of the vault's bucket.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn bucket(&self) -> Result<&str> {
        self.output("VaultBucketName")
    }

    /// Returns an output of `template.yaml`.
    ///
    /// # Errors
    /// When the template has no output of this name.
    pub fn output(&self, name: &str) -> Result<&str> {
        let value = self.outputs.get(name).map(String::as_str);
        value.with_context(|| format!("template.yaml has no output named {name}"))
    }

    /// Returns a configuration for AWS clients. S3 clients must also use path style.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        self.aws.sdk_config()
    }

    /// Returns an S3 client for use on one runtime.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        self.aws.s3()
    }

    /// Returns an SQS client for use on one runtime.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk_config())
    }

    /// Invokes a deployed function with `payload`, and returns its response. `output` is the
    /// template's output that names the function, such as `PresignBdrDownloadFunctionName`.
    ///
    /// # Errors
    /// When the template has no such output, or with the function's own message when it fails.
    pub async fn invoke(&self, output: &str, payload: &Value) -> Result<Value> {
        lambda::invoke(self.endpoint(), self.output(output)?, payload).await
    }

    /// Returns the e-mails that the functions have sent, oldest first.
    ///
    /// # Errors
    /// When the stand-in does not respond.
    pub async fn sent_emails(&self) -> Result<Vec<SentEmail>> {
        self.aws.sent_emails().await
    }

    /// Returns the lines that the functions have logged. The lines of an invocation appear when it
    /// has ended.
    ///
    /// # Errors
    /// When the stand-in does not respond.
    pub async fn function_logs(&self) -> Result<Vec<String>> {
        self.aws.function_logs().await
    }

    /// Returns the lines of a log group, also of another stack in this account.
    ///
    /// # Errors
    /// When the stand-in does not respond, or has no such log group.
    pub async fn log_group(&self, name: &str) -> Result<Vec<String>> {
        self.aws.log_group(name).await
    }

    /// Returns the end of the stand-in's own log, which reports a function that fails at its start.
    #[must_use]
    pub fn aws_log(&self) -> String {
        self.aws.server.log_tail()
    }

    /// Returns the log files of PostgreSQL and of the AWS stand-in, which are deleted with the stack.
    #[must_use]
    pub fn log_files(&self) -> [PathBuf; 2] {
        [&self.postgres.server, &self.aws.server].map(Server::log_file)
    }

    /// Returns the Python with the packages of `requirements.txt`, such as boto3.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.tools.python()
    }

    /// Returns the AWS command line.
    #[must_use]
    pub fn aws_command(&self) -> PathBuf {
        self.tools.aws()
    }

    /// Returns PostgreSQL's command line.
    #[must_use]
    pub fn psql_command(&self) -> PathBuf {
        self.postgres.psql.clone()
    }

    /// Returns a directory for files that are deleted with the stack.
    #[must_use]
    pub fn scratch_directory(&self) -> &Path {
        self.aws.server.directory()
    }

    /// Fails when one of the servers has ended by itself.
    ///
    /// # Errors
    /// The message names the server and includes the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        self.postgres.server.check_alive()?;
        self.aws.server.check_alive()
    }

    /// Stops everything; returns when nothing is left of it.
    ///
    /// # Errors
    /// When a server does not stop in time.
    pub async fn stop(self) -> Result<()> {
        self.aws.server.stop().await?;
        self.postgres.server.stop().await
    }
}
