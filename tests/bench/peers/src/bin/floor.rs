//! What this machine and this server allow: every artwork is asked for and thrown away, and beside that
//! as many bytes as they have are uploaded, in parts of 8 MiB, four at a time. Nothing is signed, hashed,
//! copied or put in order.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use bdr_bench_jobs::{manifest::Manifest, rounds};
use bytes::Bytes;
use clap::Parser;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// Bytes in a part of the upload.
const PART: u64 = 8 * 1024 * 1024;
/// Parts in flight.
const PARTS: usize = 4;

#[derive(Parser)]
struct Options {
    manifest: PathBuf,
    /// URL of the S3 server. The roots of its certificate stand in `SSL_CERT_FILE`.
    #[arg(long)]
    endpoint: String,
    /// GETs in flight.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
}

struct Floor {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    bucket: String,
    manifest: Manifest,
    concurrency: usize,
    block: Bytes,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let manifest = Manifest::read(&options.manifest)?;
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    let floor = Floor {
        client: Client::builder(TokioExecutor::new()).build(connector),
        bucket: format!("{}/{}", options.endpoint, manifest.bucket),
        manifest,
        concurrency: options.concurrency,
        block: vec![0x5a; PART as usize].into(),
    };
    rounds::twice(|| async {
        tokio::try_join!(floor.download(), floor.upload())?;
        Ok(())
    })
    .await
}

impl Floor {
    async fn download(&self) -> Result<()> {
        let received: u64 = stream::iter(&self.manifest.entries)
            .map(|entry| self.size_of(&entry.key))
            .buffer_unordered(self.concurrency)
            .try_fold(0, async |sum, size| Ok(sum + size))
            .await?;
        ensure!(received == self.manifest.bytes(), "only {received} bytes have come");
        Ok(())
    }

    async fn size_of(&self, key: &str) -> Result<u64> {
        let mut body = self.send(Method::GET, key, Bytes::new()).await?.into_body();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            size += frame?.data_ref().map_or(0, |chunk| chunk.len() as u64);
        }
        Ok(size)
    }

    async fn upload(&self) -> Result<()> {
        let (zip, size) = (&self.manifest.zip, self.manifest.bytes());
        if size <= PART {
            self.send(Method::PUT, zip, self.block.slice(..size as usize)).await?;
            return Ok(());
        }
        let created = self.send(Method::POST, &format!("{zip}?uploads="), Bytes::new()).await?;
        let created = created.into_body().collect().await?.to_bytes();
        let created = String::from_utf8_lossy(&created);
        let (_, id) = created.split_once("<UploadId>").context("no upload id")?;
        let (id, _) = id.split_once('<').context("no upload id")?;
        let mut parts: Vec<_> = stream::iter(1..=size.div_ceil(PART))
            .map(async |number| {
                let length = PART.min(size - (number - 1) * PART) as usize;
                let part = format!("{zip}?partNumber={number}&uploadId={id}");
                let sent = self.send(Method::PUT, &part, self.block.slice(..length)).await?;
                anyhow::Ok((number, sent.headers()["etag"].to_str()?.to_owned()))
            })
            .buffer_unordered(PARTS)
            .try_collect()
            .await?;
        parts.sort_unstable();
        let parts = parts.iter().map(|(number, tag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>")
        });
        let parts = parts.collect::<String>();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.send(Method::POST, &format!("{zip}?uploadId={id}"), list.into()).await?;
        Ok(())
    }

    async fn send(&self, method: Method, key: &str, body: Bytes) -> Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{key}", self.bucket))
            .body(Full::new(body))?;
        let response = self.client.request(request).await?;
        ensure!(response.status().is_success(), "{key}: {}", response.status());
        Ok(response)
    }
}
