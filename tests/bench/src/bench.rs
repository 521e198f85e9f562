//! A request through the function, and the check of its result.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use bdr_bench::{
    round::{Round, cpu_s},
    traffic::Traffic,
};
use bdr_tests::lambda::{Deployed, Function, TestQueue};
use local_stack::LocalStack;
use serde_json::json;
use tokio::process::Command;
use tokio_postgres::Client;

use crate::{
    limits::Limits,
    options::Options,
    peers::{Peer, Peers, run},
    phases::Phases,
    s3::S3Server,
    sampler::sample,
    workload::{Seeded, Workload},
    zip_check,
};

/// The environment of a measurement.
pub(crate) struct Bench {
    pub(crate) peers: Peers,
    pub(crate) s3: S3Server,
    pub(crate) deployed: Deployed,
    pub(crate) scratch: PathBuf,
    pub(crate) lambda_mb: Option<u64>,
    /// Variables of the function, beside those of the measurement.
    variables: Vec<(String, String)>,
    queue: TestQueue,
    pub(crate) database: Client,
}

/// A process of the function and its limits. `let` drops the process first.
pub(crate) type Limited = (Option<Limits>, Function);

/// The measurement of a request whose result was correct.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) workload: Workload,
    pub(crate) round: Round,
    pub(crate) phases: Phases,
    pub(crate) traffic: Traffic,
    /// Resident memory every 50 ms.
    pub(crate) resident_kib: Vec<u64>,
    /// The key of the ZIP.
    pub(crate) key: String,
}

impl Bench {
    /// Starts what the local stack does not have.
    pub(crate) async fn new(stack: &LocalStack, peers: Peers, options: &Options) -> Result<Self> {
        let mut deployed = Deployed::process_bdr_job(stack).await?;
        if let Some(binary) = &options.binary {
            let path = binary.canonicalize();
            deployed.bootstrap =
                path.with_context(|| format!("failed to find the binary {}", binary.display()))?;
        }
        let scratch = stack.scratch_directory().to_owned();
        Ok(Self {
            s3: S3Server::start(&peers, options, &scratch).await?,
            peers,
            queue: TestQueue::create(stack.sqs(), "bench", deployed.timeout).await?,
            deployed,
            database: stack.database().await?,
            scratch,
            lambda_mb: options.lambda_mb,
            variables: options.variables.clone(),
        })
    }

    /// Runs a peer with the same job, with the limits of Lambda at `lambda_mb`, or without limits.
    pub(crate) async fn run_peer(
        &self,
        peer: Peer,
        seeded: &Seeded,
        lambda_mb: Option<u64>,
    ) -> Result<Round> {
        self.s3.reset(false).await?;
        let limits = lambda_mb.map(Limits::of_lambda).transpose()?;
        let mut line = limits.as_ref().map(Limits::launcher).unwrap_or_default();
        let mut job = seeded.job.clone();
        match peer {
            Peer::Floor(concurrency) | Peer::Chain(concurrency) => {
                job.concurrency = concurrency;
                job.uploads_last = matches!(peer, Peer::Chain(_));
                line.push(self.peers.program("floor"));
            }
            Peer::SZip => line.push(self.peers.program("s-zip")),
            Peer::Archiver => line.extend(["node".into(), self.peers.program("node/archiver.mjs")]),
        }
        let file = self.scratch.join("job.json");
        std::fs::write(&file, serde_json::to_vec(&job)?)?;
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg(file);
        if let Some(root) = &self.s3.root {
            command.env("SSL_CERT_FILE", root).env("NODE_EXTRA_CA_CERTS", root);
        }
        let output = run(&format!("run {peer}"), &mut command).await?;
        serde_json::from_slice(&output)
            .with_context(|| format!("failed to parse the result of {peer}"))
    }

    /// Starts the function with the limits of Lambda at `lambda_mb`, or without limits.
    pub(crate) async fn start_function(&self, lambda_mb: Option<u64>) -> Result<Limited> {
        self.start_function_with(lambda_mb, &[]).await
    }

    /// Starts the function as [`Bench::start_function`], with these values of further variables.
    pub(crate) async fn start_function_with(
        &self,
        lambda_mb: Option<u64>,
        variables: &[(&'static str, &'static str)],
    ) -> Result<Limited> {
        let limits = lambda_mb.map(Limits::of_lambda).transpose()?;
        let memory = lambda_mb.unwrap_or(self.deployed.memory_mb).to_string();
        let host = self.s3.endpoint.split_once("://").map_or("", |(_, host)| host);
        let root = self.s3.root.as_ref().map(|root| root.display().to_string());
        let mut changed = vec![
            ("AWS_ENDPOINT_URL_S3", &*self.s3.endpoint),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
            ("BDR_QUEUE_URL", self.queue.url()),
            ("REMOTE_ALLOW_HOSTS", host),
            // One attempt does all the work: 1 TiB is beyond every workload.
            ("SEGMENT_BYTES", "1099511627776"),
        ];
        changed.extend(self.variables.iter().map(|(name, value)| (&**name, &**value)));
        changed.extend_from_slice(variables);
        changed.extend(root.as_deref().map(|root| ("AWS_CA_BUNDLE", root)));
        let log = self.scratch.join("function.log");
        let launcher = limits.as_ref().map(Limits::launcher).unwrap_or_default();
        let function = Function::launch(&launcher, &self.deployed, &changed, &log).await?;
        Ok((limits, function))
    }

    /// Inserts the artworks into the database.
    pub(crate) async fn seed(&self, workload: Workload) -> Result<Seeded> {
        workload.seed(&self.database, &self.s3.endpoint).await
    }

    /// Processes a new request for the artworks.
    pub(crate) async fn run(&self, function: &mut Function, seeded: &Seeded) -> Result<Measured> {
        self.s3.reset(false).await?;
        self.invoke(function, seeded).await
    }

    /// Processes a new request in a new process and compares the ZIP with the artworks.
    pub(crate) async fn inspect(&self, seeded: &Seeded) -> Result<()> {
        let (_limits, mut function) = self.start_function(self.lambda_mb).await?;
        self.s3.reset(true).await?;
        let Measured { key, .. } = self.invoke(&mut function, seeded).await?;
        zip_check::check(&self.s3.content(&key).await?, &seeded.job.entries, &self.variables)
            .context("wrong ZIP")?;
        eprintln!("  ✓ a ZIP of {} has the right content, byte for byte", seeded.workload);
        function.stop().await
    }

    async fn invoke(&self, function: &mut Function, seeded: &Seeded) -> Result<Measured> {
        self.measure(function, seeded).await.with_context(|| {
            let (workload, log) = (seeded.workload, function.log_tail());
            format!("failed to process a request for {workload}. The log ends with:\n{log}\n")
        })
    }

    async fn measure(&self, function: &mut Function, seeded: &Seeded) -> Result<Measured> {
        let bdr_id = seeded.request.insert(&self.database).await?;
        let message = self.queue.deliver(bdr_id).await?;
        let (pid, cpu_before_s) = (function.pid(), cpu_s(function.pid())?);
        let (invocation, resident_kib) = sample(pid, function.invoke(message.event())).await;
        let invocation = invocation?;
        let round = Round::finish(pid, invocation.duration, cpu_before_s)?;
        let traffic = self.s3.traffic().await?;
        self.queue.delete(&message).await?;
        let no_failures = json!({ "batchItemFailures": [] });
        ensure!(invocation.response == no_failures, "the response is {}", invocation.response);

        let query = "SELECT status, file_path, file_size_bytes FROM batch_download_requests
                     WHERE id = $1";
        let row = self.database.query_one(query, &[&bdr_id]).await;
        let row = row.context("failed to read the request")?;
        let status: &str = row.try_get("status")?;
        ensure!(status == "ready", "the request is {status} instead of ready");
        let key: String = row.try_get("file_path")?;
        let size = u64::try_from(row.try_get::<_, i64>("file_size_bytes")?)?;
        let stored = traffic.objects.get(&key);
        let received = traffic.received_bytes + traffic.copied_bytes;
        ensure!(
            stored == Some(&size) && received == size,
            "the row has {size} bytes, the object {stored:?}, and {received} were uploaded or copied"
        );
        ensure!(size > seeded.job.bytes(), "an artwork is missing: the ZIP has {size} bytes");
        let phases = Phases::of(&function.log(), bdr_id)?;
        Ok(Measured { workload: seeded.workload, round, phases, traffic, resident_kib, key })
    }
}
