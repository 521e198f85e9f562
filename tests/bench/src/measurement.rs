//! One workload through a fresh process of the function, and whether it went well.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bdr_tests::lambda::{Deployed, Function, Queue};
use local_stack::LocalStack;
use serde_json::json;
use uuid::Uuid;

use crate::{
    resident::{Sampler, Usage},
    s3::S3Server,
    workload::{Seeded, Workload},
};

/// Everything that a measurement needs.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) stack: &'a LocalStack,
    pub(crate) s3: S3Server,
    pub(crate) queue: Queue,
    pub(crate) deployed: Deployed,
}

/// What was measured, once everything was found to be right.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) duration: Duration,
    pub(crate) usage: Usage,
    /// The ZIP's key in the vault.
    pub(crate) key: String,
}

impl<'a> Bench<'a> {
    /// Makes ready what the stack does not have.
    pub(crate) async fn prepare(stack: &'a LocalStack, latency: Duration) -> Result<Self> {
        let deployed = Deployed::process_bdr_job(stack).await?;
        Ok(Self {
            stack,
            s3: S3Server::start(latency)?,
            queue: Queue::create(stack.sqs(), "bench", deployed.timeout).await?,
            deployed,
        })
    }

    /// Puts a workload that is in the database through a process of its own. The vault's counts are
    /// those of this workload until the next one.
    pub(crate) async fn run(&self, workload: Workload, seeded: &Seeded) -> Result<Measured> {
        let log = self.stack.scratch_directory().join("function.log");
        let endpoint = self.s3.endpoint();
        let changed =
            [("AWS_ENDPOINT_URL_S3", endpoint.as_str()), ("BDR_QUEUE_URL", self.queue.url())];
        let mut function = Function::start(&self.deployed, &changed, &log).await?;
        let measured = self.invoke(&mut function, workload, seeded).await.with_context(|| {
            format!("{workload} failed. The function's last lines:\n{}\n", function.log_tail())
        });
        function.stop().await?;
        measured
    }

    async fn invoke(
        &self,
        function: &mut Function,
        workload: Workload,
        seeded: &Seeded,
    ) -> Result<Measured> {
        let message = self.queue.deliver(seeded.bdr_id).await?;
        let sampler = Sampler::start(function.pid())?;
        let invocation = function.invoke(message.event()).await?;
        let usage = sampler.finish(function.pid())?;
        self.queue.delete(&message).await?;

        ensure!(
            invocation.response == json!({ "batchItemFailures": [] }),
            "the function did not finish the request: {}",
            invocation.response
        );
        let key = self.check(workload, seeded.bdr_id).await?;
        Ok(Measured { duration: invocation.duration, usage, key })
    }

    /// Compares the row with what arrived in the vault, and returns the ZIP's key.
    async fn check(&self, workload: Workload, bdr_id: Uuid) -> Result<String> {
        let row = self
            .stack
            .database()
            .await?
            .query_one(
                "SELECT status, file_path, file_size_bytes FROM batch_download_requests
                  WHERE id = $1",
                &[&bdr_id],
            )
            .await
            .context("the request cannot be read")?;
        let status: &str = row.try_get("status")?;
        ensure!(status == "ready", "the request is {status}, and not ready");
        let key: String = row.try_get("file_path")?;
        let size = u64::try_from(row.try_get::<_, i64>("file_size_bytes")?)?;

        let stored = self.s3.object(&key).with_context(|| format!("there is no object {key}"))?;
        let received = self.s3.traffic().received();
        ensure!(
            stored.size == size && received == size,
            "the row says {size} bytes, the object has {}, and {received} were sent",
            stored.size
        );
        ensure!(size > workload.bytes(), "{size} bytes are too few: an artwork is missing");
        Ok(key)
    }
}
