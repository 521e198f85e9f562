//! The actions of an operator. Their steps are in an order in which an interruption loses nothing.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_lambda::config::StalledStreamProtectionConfig;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use serde_json::{Value, json};
use shared::config::Environment;
use shared::database::{Database, DatabaseSource, SecretReader};
use shared::failure::Failure;
use shared::queue::{Publication, Queue};
use shared::request::{NewRequest, Overview, Requests};
use shared::sqid::SqidSource;
use shared::vault::{ArchiveKey, NotDeleted, Vault};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::advised::Advised;
use crate::stack_outputs::StackOutputs;

/// The settings for connections to AWS and to the database.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Region, credentials and endpoints.
    pub aws: SdkConfig,
    /// Whether S3 requests use path-style URLs, for an endpoint without a host name per bucket.
    pub s3_path_style: bool,
    /// URL of the database.
    pub database_url: Option<String>,
    /// ARN of the database's secret, used without a URL. With neither, the functions' database is
    /// used.
    pub database_secret: Option<String>,
    /// Host to connect to instead of the secret's own.
    pub database_host: Option<String>,
}

/// An operator of one deployment.
pub struct Operator {
    pub(crate) connection: Connection,
    pub(crate) outputs: StackOutputs,
    pub(crate) lambda: aws_sdk_lambda::Client,
    requests: OnceCell<Requests>,
    function: OnceCell<Environment>,
}

impl Operator {
    /// Returns an operator of the deployment with these `outputs`, without a call to a service.
    #[must_use]
    pub fn new(connection: Connection, outputs: StackOutputs) -> Self {
        let lambda = aws_sdk_lambda::Client::new(&connection.aws);
        Self { connection, outputs, lambda, requests: OnceCell::new(), function: OnceCell::new() }
    }

    /// Returns the requests of the database.
    ///
    /// # Errors
    /// When no database is configured.
    pub async fn requests(&self) -> Result<&Requests> {
        self.requests
            .get_or_try_init(|| {
                Box::pin(async { Ok(Requests::new(Arc::new(self.database().await?))) })
            })
            .await
    }

    /// Returns the database of the command line or the environment, or else that of the functions. It
    /// connects on first use.
    pub(crate) async fn database(&self) -> Result<Database> {
        let (url, secret, host) = ("DATABASE_URL", "DATABASE_SECRET_ARN", "DATABASE_HOST");
        let own_host = self.connection.database_host.as_deref().map(|value| (host, value));
        let variables: Vec<(&str, &str)> = if let Some(database) = self.own_database() {
            [database].into_iter().chain(own_host).collect()
        } else {
            let functions = self.function_environment().await.context(Advised::new(
                "failed to find the functions' database",
                "Set DATABASE_URL, or check --stack, AWS_REGION and the credentials \
                 (cloudformation:DescribeStacks, lambda:GetFunctionConfiguration).",
            ))?;
            let set = [url, secret, host].map(|name| Some((name, functions.optional(name)?)));
            let set = set.into_iter().flatten();
            set.filter(|(name, _)| *name != host || own_host.is_none()).chain(own_host).collect()
        };
        let source = DatabaseSource::from_environment(&Environment::of(variables))?;
        Ok(Database::new(source, Some(SecretReader::new(&self.connection.aws))))
    }

    /// Returns the database of the command line or the environment: the URL takes precedence.
    pub(crate) fn own_database(&self) -> Option<(&'static str, &str)> {
        let Connection { database_url, database_secret, .. } = &self.connection;
        let url = database_url.as_deref().map(|value| ("DATABASE_URL", value));
        url.or_else(|| Some(("DATABASE_SECRET_ARN", database_secret.as_deref()?)))
    }

    /// Returns the environment of process-bdr-job.
    pub(crate) async fn function_environment(&self) -> Result<&Environment> {
        self.function
            .get_or_try_init(|| {
                Box::pin(async {
                    let name = self.outputs.process_function().await?;
                    let call = self.lambda.get_function_configuration().function_name(&name);
                    let response = call.send().await.with_context(|| {
                        Advised::new(
                            format!("failed to read the configuration of {name}"),
                            "Check the credentials (lambda:GetFunctionConfiguration).",
                        )
                    })?;
                    let environment = response.environment;
                    let variables = environment.and_then(|environment| environment.variables);
                    Ok(Environment::of(variables.unwrap_or_default()))
                })
            })
            .await
    }

    pub(crate) async fn queue(&self) -> Result<Queue> {
        Ok(Queue::new(self.sqs(), self.outputs.queue_url().await?))
    }

    pub(crate) async fn dead_letter_queue(&self) -> Result<Queue> {
        Ok(Queue::new(self.sqs(), self.outputs.dead_letter_queue_url().await?))
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.connection.aws)
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        shared::aws::s3(&self.connection.aws, self.connection.s3_path_style)
    }

    /// Returns the vault.
    pub(crate) async fn vault(&self) -> Result<Vault> {
        Ok(Vault::new(self.s3(), &self.outputs.bucket().await?))
    }

    /// Returns the request `bdr_id`.
    ///
    /// # Errors
    /// When the database does not have it, or does not respond.
    pub async fn request(&self, bdr_id: Uuid) -> Result<Overview> {
        let found = self.requests().await?.find(bdr_id).await;
        let absent = || {
            Advised::not_found(
                format!("request {bdr_id} not found"),
                "Check the id and the database. To list requests, run `bdrctl status`.",
            )
        };
        Ok(found?.ok_or_else(absent)?)
    }

    /// Inserts a request's row.
    ///
    /// # Errors
    /// When the database rejects it.
    pub async fn insert(&self, request: &NewRequest) -> Result<Uuid> {
        let bdr_id = Uuid::new_v4();
        self.requests().await?.insert(bdr_id, request).await.with_context(|| {
            Advised::new(
                format!("failed to insert a request of user {}", request.user_id),
                "Check that the user exists, and connect as the API's role: the functions' role has \
                 no privilege to insert.",
            )
        })?;
        Ok(bdr_id)
    }

    /// Publishes a request in the group of its artist. A second message of the same request does no
    /// harm.
    ///
    /// # Errors
    /// When SQS rejects the message or does not respond.
    pub async fn publish(&self, request: Publication) -> Result<()> {
        let bdr_id = request.bdr_id;
        let published = async { anyhow::Ok(self.queue().await?.publish(request).await?) };
        published.await.with_context(|| {
            Advised::new(
                format!("failed to publish request {bdr_id}"),
                format!("Its row exists. To publish it, run `bdrctl submit {bdr_id}`."),
            )
        })
    }

    /// Returns the response of presign-bdr-download for this request and user.
    ///
    /// # Errors
    /// When the function cannot be invoked, or fails.
    pub async fn presign(&self, bdr_id: Uuid, user_id: i64) -> Result<Value> {
        let name = self.outputs.presign_function().await?;
        self.invoke(&name, &json!({"bdr_id": bdr_id, "user_id": user_id})).await
    }

    /// Invokes a function and waits for its response.
    pub(crate) async fn invoke(&self, name: &str, payload: &Value) -> Result<Value> {
        let payload = payload.to_string().into_bytes();
        let invoke = self.lambda.invoke().function_name(name).payload(payload.into());
        response(name, Box::pin(invoke.send()).await)
    }

    /// Invokes a function without a retry, for an event that must not be repeated, and waits for its
    /// response for at most `limit`.
    pub(crate) async fn invoke_once(
        &self,
        name: &str,
        payload: &Value,
        limit: Duration,
    ) -> Result<Value> {
        let payload = payload.to_string().into_bytes();
        let invoke = self.lambda.invoke().function_name(name).payload(payload.into());
        let config = aws_sdk_lambda::config::Builder::new()
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::builder().read_timeout(limit).build());
        response(name, Box::pin(invoke.customize().config_override(config).send()).await)
    }

    /// Reopens a failed request, and deletes its leftover ZIP while the row is locked. Returns whether
    /// the request was `failed`. The caller then publishes it.
    pub(crate) async fn reopen(&self, request: &Overview) -> Result<bool> {
        let leftover = self.archive_key(request).await?;
        let vault = self.vault().await?;
        let delete = async || match &leftover {
            Some(key) => delete(&vault, key).await,
            None => Ok(()),
        };
        Ok(self.requests().await?.reopen(request.bdr_id, delete).await?)
    }

    /// Returns the key that the ZIP of a request has, if there is one.
    async fn archive_key(&self, request: &Overview) -> Result<Option<ArchiveKey>> {
        if let Some(key) = request.file_path.as_deref().and_then(ArchiveKey::parse) {
            return Ok(Some(key));
        }
        let Some(user_id) = request.user_id else { return Ok(None) };
        let alphabet = match request.user_sqid {
            Some(_) => None,
            None => self.function_environment().await?.optional("SQIDS_ALPHABET"),
        };
        let sqid = SqidSource::new(alphabet)?.sqid(request.user_sqid.as_deref(), user_id);
        Ok(sqid.map(|user| ArchiveKey::new(&user, request.bdr_id)))
    }
}

async fn delete(vault: &Vault, key: &ArchiveKey) -> Result<(), Failure> {
    const FAILED: &str = "failed to delete the leftover ZIP";
    let refused = vault.delete_archives([(key, None)]).await;
    match refused.map_err(|error| Failure::retry(FAILED, error))?.into_values().next() {
        None | Some(NotDeleted::Changed) => Ok(()),
        Some(NotDeleted::Rejected(code)) => Err(Failure::retry(FAILED, code)),
    }
}

/// Returns the payload of an invocation's response.
fn response(
    name: &str,
    response: Result<InvokeOutput, impl Error + Send + Sync + 'static>,
) -> Result<Value> {
    let response = response.with_context(|| {
        Advised::new(
            format!("failed to invoke {name}"),
            "Check the credentials (lambda:InvokeFunction).",
        )
    })?;
    let body = response.payload.map(aws_smithy_types::Blob::into_inner).unwrap_or_default();
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    if response.function_error.is_some() {
        let message = body.as_ref().and_then(|body| body["errorMessage"].as_str());
        let message = message.unwrap_or("Lambda returned no error message");
        bail!(Advised::new(
            format!("{name} failed: {message}"),
            format!("Read the log of {name}."),
        ));
    }
    body.with_context(|| format!("{name} returned a response that is not JSON"))
}
