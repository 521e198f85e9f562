//! The S3 server, a process of its own (`peers/src/bin/s3-server`).

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use bdr_bench::traffic::Traffic;
use bytes::Bytes;
use reqwest::{Method, Response};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{options::Options, peers::Peers};

/// A running S3 server. It ends when this is dropped.
pub(crate) struct S3Server {
    _process: Child,
    /// The URL for `AWS_ENDPOINT_URL_S3`.
    pub(crate) endpoint: String,
    /// The URL without TLS and without counting connections.
    admin: String,
    /// The file with the root certificate, with TLS only.
    pub(crate) root: Option<PathBuf>,
    client: reqwest::Client,
}

impl S3Server {
    pub(crate) async fn start(peers: &Peers, options: &Options, scratch: &Path) -> Result<Self> {
        let root = options.tls.then(|| scratch.join("s3-root.pem"));
        let mut command = Command::new(peers.program("s3-server"));
        command.args(["--latency-ms", &options.latency_ms.to_string()]);
        for (name, limit) in
            [("--network-mb-s", options.network_mb_s), ("--get-mb-s", options.get_mb_s)]
        {
            if let Some(limit) = limit {
                command.args([name, &limit.to_string()]);
            }
        }
        if let Some(root) = &root {
            command.arg("--tls").arg(root);
        }
        // The server ends when its standard input is closed.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("failed to start the S3 server")?;
        let output = process.stdout.take().context("the S3 server has no output")?;
        let line = BufReader::new(output).lines().next_line().await?.unwrap_or_default();
        let addresses = line.split_once(' ');
        let (endpoint, admin) = addresses.context("the S3 server printed no addresses")?;
        let (endpoint, admin) = (endpoint.to_owned(), admin.to_owned());
        Ok(Self { _process: process, endpoint, admin, root, client: local_stack::http::client()? })
    }

    /// Deletes objects and counts. With `keep`, the server keeps the content of later uploads.
    pub(crate) async fn reset(&self, keep: bool) -> Result<()> {
        self.send(Method::POST, if keep { "reset?keep" } else { "reset" }).await?;
        Ok(())
    }

    /// Returns the counts since the last reset.
    pub(crate) async fn traffic(&self) -> Result<Traffic> {
        Ok(self.send(Method::GET, "traffic").await?.json().await?)
    }

    /// Returns the content of an object that was uploaded since a reset with `keep`.
    pub(crate) async fn content(&self, key: &str) -> Result<Bytes> {
        Ok(self.send(Method::GET, &format!("vault/{key}")).await?.bytes().await?)
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response> {
        let url = format!("{}/{path}", self.admin);
        Ok(self.client.request(method, url).send().await?.error_for_status()?)
    }
}
