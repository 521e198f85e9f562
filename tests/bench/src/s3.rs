//! The vault: a process of its own (`peers/src/bin/s3-server`).

use std::{collections::BTreeMap, path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{options::Options, peers::Peers};

/// The running vault. It ends with its owner.
#[derive(Debug)]
pub(crate) struct S3Server {
    /// Killed when it is dropped.
    _process: Child,
    addresses: Addresses,
    /// The file with the root of its certificate, where it has one.
    pub(crate) root: Option<std::path::PathBuf>,
    client: reqwest::Client,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    s3: String,
    admin: String,
}

/// What was asked since the last reset.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Traffic {
    /// Requests by kind.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Answers that were errors.
    pub(crate) errors: u64,
    /// Connections that were opened.
    pub(crate) connections: u64,
    /// Bytes of objects and parts that came in.
    pub(crate) received: u64,
    /// Requests that were being answered at the same time.
    pub(crate) most_in_flight: u64,
}

/// Something that was uploaded.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) size: u64,
    /// Empty unless they were to be kept.
    pub(crate) bytes: Bytes,
}

impl S3Server {
    pub(crate) async fn start(peers: &Peers, options: &Options, scratch: &Path) -> Result<Self> {
        let root = options.tls.then(|| scratch.join("s3-root.pem"));
        let mut command = Command::new(peers.s3_server());
        command.args(["--latency-ms", &options.latency_ms.to_string()]);
        if let Some(root) = &root {
            command.arg("--tls").arg(root);
        }
        // With its standard input it ends.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("the S3 server cannot be started")?;
        let output = process.stdout.take().context("the S3 server has no output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let line = line.context("the S3 server ended as soon as it was started")?;
        let addresses = serde_json::from_str(&line)
            .with_context(|| format!("the S3 server says something else: {line}"))?;
        Ok(Self { _process: process, addresses, root, client: local_stack::http::client()? })
    }

    /// For `AWS_ENDPOINT_URL_S3`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.addresses.s3
    }

    /// Forgets what was stored and counted. From now on the bytes of what is uploaded are kept only
    /// if `keep` says so.
    pub(crate) async fn reset(&self, keep: bool) -> Result<()> {
        let query = if keep { "?keep=true" } else { "" };
        let url = format!("{}/reset{query}", self.addresses.admin);
        self.client.post(url).send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn traffic(&self) -> Result<Traffic> {
        let url = format!("{}/traffic", self.addresses.admin);
        Ok(self.client.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// What was uploaded to `key` since the last reset.
    pub(crate) async fn object(&self, key: &str) -> Result<Object> {
        let answer =
            self.client.get(format!("{}/object/{key}", self.addresses.admin)).send().await?;
        ensure!(answer.status().is_success(), "there is no object {key}");
        let size = answer.headers().get("x-size").context("it has no size")?.to_str()?.parse()?;
        Ok(Object { size, bytes: answer.bytes().await? })
    }
}
