//! A workload through the function, and whether it went well.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bdr_bench_jobs::rounds::{Round, cpu_ms, peak_kib};
use bdr_tests::lambda::{Deployed, Function, TestQueue};
use local_stack::LocalStack;
use serde_json::json;
use tokio_postgres::Client;

use crate::{
    limits::Limits,
    options::Options,
    peers::{Peer, Peers},
    resident::Sampler,
    s3::{S3Server, Traffic},
    workload::{Seeded, Workload},
    zip_check,
};

/// Everything that a measurement needs.
pub(crate) struct Bench<'a> {
    pub(crate) peers: &'a Peers,
    pub(crate) s3: S3Server,
    queue: TestQueue,
    pub(crate) deployed: Deployed,
    pub(crate) database: Client,
    pub(crate) scratch: PathBuf,
    pub(crate) lambda_mb: Option<u64>,
}

/// What a command of the benchmark has to say.
pub(crate) struct Report {
    pub(crate) text: String,
    /// What makes it an error.
    pub(crate) wrong: Option<String>,
}

/// A process of the function.
pub(crate) struct Process {
    pub(crate) function: Function,
    _limits: Option<Limits>,
}

/// What was measured, once everything was found to be right.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) round: Round,
    /// What was asked of S3 meanwhile.
    pub(crate) traffic: Traffic,
    /// Resident bytes, every 50 ms.
    pub(crate) resident: Vec<u64>,
}

impl Measured {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.round.wall_ms / 1e3)
    }
}

impl<'a> Bench<'a> {
    /// Makes ready what the stack does not have.
    pub(crate) async fn prepare(
        stack: &'a LocalStack,
        peers: &'a Peers,
        options: &Options,
    ) -> Result<Self> {
        let mut deployed = Deployed::process_bdr_job(stack).await?;
        if let Some(binary) = &options.binary {
            deployed.bootstrap = binary.canonicalize().context("there is no such binary")?;
        }
        let scratch = stack.scratch_directory().to_owned();
        Ok(Self {
            peers,
            s3: S3Server::start(peers, options, &scratch).await?,
            queue: TestQueue::create(stack.sqs(), "bench", deployed.timeout).await?,
            deployed,
            database: stack.database().await?,
            scratch,
            lambda_mb: options.lambda_mb,
        })
    }

    /// Starts the function, with what Lambda gives it at `lambda_mb`, or without limits.
    pub(crate) async fn start_function(&self, lambda_mb: Option<u64>) -> Result<Process> {
        let limits = lambda_mb.map(Limits::of_lambda).transpose()?;
        let memory = lambda_mb.unwrap_or(self.deployed.memory_mb).to_string();
        let host = self.s3.endpoint().split_once("://").map_or("", |(_, host)| host);
        let root = self.s3.root.as_ref().map(|root| root.display().to_string());
        let mut changed = vec![
            ("AWS_ENDPOINT_URL_S3", self.s3.endpoint()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
            ("BDR_QUEUE_URL", self.queue.url()),
            ("REMOTE_ALLOW_HOSTS", host),
        ];
        if let Some(root) = &root {
            changed.push(("AWS_CA_BUNDLE", root));
        }
        let log = self.scratch.join("function.log");
        let launcher = limits.as_ref().map(Limits::launcher).unwrap_or_default();
        let function = Function::launch(&launcher, &self.deployed, &changed, &log).await?;
        Ok(Process { function, _limits: limits })
    }

    /// Puts the artworks, requested once more, through a process.
    pub(crate) async fn run(
        &self,
        process: &mut Process,
        workload: Workload,
        seeded: &Seeded,
    ) -> Result<Measured> {
        self.invoke(process, workload, seeded, false).await
    }

    /// The same, and looks into the ZIP.
    pub(crate) async fn inspect(&self, workload: Workload, seeded: &Seeded) -> Result<()> {
        let mut process = self.start_function(self.lambda_mb).await?;
        self.invoke(&mut process, workload, seeded, true).await?;
        eprintln!("  ✓ a ZIP of {workload} holds what was asked for, byte for byte");
        Ok(())
    }

    async fn invoke(
        &self,
        process: &mut Process,
        workload: Workload,
        seeded: &Seeded,
        look: bool,
    ) -> Result<Measured> {
        let measured = self.measure(&mut process.function, workload, seeded, look).await;
        measured.with_context(|| format!("{workload} failed. {}", last_lines(&process.function)))
    }

    async fn measure(
        &self,
        function: &mut Function,
        workload: Workload,
        seeded: &Seeded,
        look: bool,
    ) -> Result<Measured> {
        self.s3.reset(look).await?;
        let bdr_id = seeded.request(&self.database).await?;
        let message = self.queue.deliver(bdr_id).await?;
        let cpu = cpu_ms(function.pid())?;
        let sampler = Sampler::start(function.pid())?;
        let invocation = function.invoke(message.event()).await?;
        let round = Round {
            wall_ms: invocation.duration.as_secs_f64() * 1e3,
            cpu_ms: cpu_ms(function.pid())? - cpu,
            peak_kib: peak_kib(function.pid())?,
        };
        let resident = sampler.finish()?;
        self.queue.delete(&message).await?;
        let nothing_failed = json!({ "batchItemFailures": [] });
        ensure!(invocation.response == nothing_failed, "it answered {}", invocation.response);

        let row = self
            .database
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
        let (stored, traffic) = (self.s3.object(&key).await?, self.s3.traffic().await?);
        ensure!(
            stored.size == size && traffic.received == size,
            "the row says {size} bytes, the object has {}, and {} were sent",
            stored.size,
            traffic.received
        );
        ensure!(size > workload.bytes(), "{size} bytes are too few: an artwork is missing");
        if look {
            zip_check::check(&stored.bytes, &seeded.artworks).context("the ZIP is wrong")?;
        }
        Ok(Measured { round, traffic, resident })
    }

    /// Has a peer do the same job, within limits if there are any.
    pub(crate) async fn run_peer(
        &self,
        peer: Peer,
        seeded: &Seeded,
        limits: Option<&Limits>,
    ) -> Result<Round> {
        self.s3.reset(false).await?;
        self.peers.run(peer, &seeded.manifest(), &self.s3, &self.scratch, limits).await
    }

    /// Puts the artworks into the database.
    pub(crate) async fn seed(&self, workload: Workload) -> Result<Seeded> {
        workload.seed(&self.database, &format!("{}/vault", self.s3.endpoint())).await
    }
}

fn last_lines(function: &Function) -> String {
    format!("The function's last lines:\n{}\n", function.log_tail())
}
