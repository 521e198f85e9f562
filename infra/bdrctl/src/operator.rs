//! What an operator can do, each step in the order in which nothing is lost when it is the last.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use aws_config::SdkConfig;
use serde_json::{Value, json};
use shared::config::Environment;
use shared::database::{Database, DatabaseSource, SecretReader};
use shared::failure::Failure;
use shared::queue::Queue;
use shared::request::{NewRequest, Overview, Requests};
use shared::sqid::SqidSource;
use shared::vault::{ArchiveKey, NotDeleted, Vault};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::config::Config;
use crate::place::Place;

/// How the parts of a deployment are reached.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Region, credentials and endpoints.
    pub aws: SdkConfig,
    /// Whether S3 lives at an endpoint without host names per bucket.
    pub s3_path_style: bool,
    /// The database, if it is not to be that of the functions.
    pub database_url: Option<String>,
    /// The database's secret, if neither.
    pub database_secret: Option<String>,
}

impl From<Config> for Connection {
    fn from(config: Config) -> Self {
        let Config { aws, s3_path_style, database_url, database_secret } = config;
        Self { aws, s3_path_style, database_url, database_secret }
    }
}

/// Somebody who may steer a deployment.
pub struct Operator {
    pub(crate) reached: Connection,
    pub(crate) place: Place,
    pub(crate) lambda: aws_sdk_lambda::Client,
    requests: OnceCell<Requests>,
    function: OnceCell<Environment>,
}

impl Operator {
    /// An operator of the deployment at `place`. Calls nobody yet.
    #[must_use]
    pub fn new(reached: Connection, place: Place) -> Self {
        let lambda = aws_sdk_lambda::Client::new(&reached.aws);
        Self { reached, place, lambda, requests: OnceCell::new(), function: OnceCell::new() }
    }

    /// The requests of the database.
    ///
    /// # Errors
    /// When nothing says where the database is.
    pub async fn requests(&self) -> Result<&Requests> {
        self.requests
            .get_or_try_init(|| {
                Box::pin(async { Ok(Requests::new(Arc::new(self.database().await?))) })
            })
            .await
    }

    /// The database: by flag or environment, else as the functions are told. It is connected to when it
    /// is first needed.
    pub(crate) async fn database(&self) -> Result<Database> {
        let (url, secret) = ("DATABASE_URL", "DATABASE_SECRET_ARN");
        let environment = match (&self.reached.database_url, &self.reached.database_secret) {
            (Some(value), _) => Environment::of([(url, value)]),
            (None, Some(value)) => Environment::of([(secret, value)]),
            (None, None) => {
                let functions = self.function_environment().await.context(
                    "Nothing says where the database is: set DATABASE_URL. (Failing that, the \
                     functions' configuration was asked.)",
                )?;
                let told = [url, secret].map(|name| Some((name, functions.optional(name)?)));
                Environment::of(told.into_iter().flatten())
            }
        };
        let source = DatabaseSource::from_environment(&environment)?;
        Ok(Database::new(source, Some(SecretReader::new(&self.reached.aws))))
    }

    /// The environment of process-bdr-job.
    pub(crate) async fn function_environment(&self) -> Result<&Environment> {
        self.function
            .get_or_try_init(|| Box::pin(async {
                let name = self.place.process_function().await?;
                let asked = self.lambda.get_function_configuration().function_name(&name);
                let answer = asked.send().await.with_context(|| {
                    format!("The configuration of {name} cannot be read (lambda:GetFunctionConfiguration)")
                })?;
                let variables = answer.environment.and_then(|environment| environment.variables);
                Ok(Environment::of(variables.unwrap_or_default()))
            }))
            .await
    }

    pub(crate) async fn queue(&self) -> Result<Queue> {
        Ok(Queue::new(self.sqs(), self.place.queue_url().await?))
    }

    pub(crate) async fn dead_letters(&self) -> Result<Queue> {
        Ok(Queue::new(self.sqs(), self.place.dead_letter_queue_url().await?))
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.reached.aws)
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        shared::aws::s3(&self.reached.aws, self.reached.s3_path_style)
    }

    /// The request `bdr_id`.
    ///
    /// # Errors
    /// When there is none, or the database does not answer.
    pub async fn request(&self, bdr_id: Uuid) -> Result<Overview> {
        let found = self.requests().await?.find(bdr_id).await;
        found?.with_context(|| format!("There is no request {bdr_id} in the database."))
    }

    /// Inserts a request's row.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn insert(&self, request: &NewRequest) -> Result<Uuid> {
        let bdr_id = Uuid::new_v4();
        self.requests().await?.insert(bdr_id, request).await.context(
            "The request's row cannot be inserted. It takes the rights of the API (the functions' \
             role may add none) and an artist who exists.",
        )?;
        Ok(bdr_id)
    }

    /// Sends the message of a request. Once too often does no harm.
    ///
    /// # Errors
    /// When the queue does not take it.
    pub async fn publish(&self, bdr_id: Uuid) -> Result<()> {
        Ok(self.queue().await?.publish(bdr_id).await?)
    }

    /// What presign-bdr-download answers to the artist whose request this is.
    ///
    /// # Errors
    /// When the function cannot be invoked, or fails.
    pub async fn presign(&self, bdr_id: Uuid, user_id: i32) -> Result<Value> {
        let name = self.place.presign_function().await?;
        self.invoke(&name, &json!({"bdr_id": bdr_id, "user_id": user_id})).await
    }

    /// Invokes a function and waits for its answer.
    pub(crate) async fn invoke(&self, name: &str, payload: &Value) -> Result<Value> {
        let payload = payload.to_string().into_bytes();
        let invoke = self.lambda.invoke().function_name(name).payload(payload.into());
        let answer = Box::pin(invoke.send())
            .await
            .with_context(|| format!("{name} cannot be invoked (lambda:InvokeFunction)"))?;
        let body = answer.payload.map(aws_smithy_types::Blob::into_inner).unwrap_or_default();
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        if answer.function_error.is_some() {
            let told = body.as_ref().and_then(|body| body["errorMessage"].as_str());
            bail!("{name} failed: {}", told.unwrap_or("it does not say why; look into its log"));
        }
        body.with_context(|| format!("{name} answered what is not JSON"))
    }

    /// Opens a failed request again: its ZIP, should one be left over, is deleted while nobody else
    /// can have the row. Returns whether it was `failed`. It is still to be published.
    pub(crate) async fn reopen(&self, request: &Overview) -> Result<bool> {
        let leftover = self.archive_key(request).await?;
        let vault = Vault::new(self.s3(), &self.place.bucket().await?);
        let delete = async || match &leftover {
            Some(key) => delete(&vault, key).await,
            None => Ok(()),
        };
        let reopened = self.requests().await?.reopen(request.bdr_id, delete).await;
        reopened.map_err(|failure| anyhow!(failure))
    }

    /// Where the ZIP of a request is, if it is anywhere.
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
