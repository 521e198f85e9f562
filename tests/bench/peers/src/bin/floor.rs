//! The limit of this machine and this server: a GET for every artwork, whose content is discarded, and at
//! the same time an upload of as many bytes, in parts of 8 MiB, four in flight. The floor signs, hashes,
//! copies and orders nothing. A ZIP of one part is complete only after the last GET: for it, the upload follows
//! the GETs (`uploads_last`).

use anyhow::{Context as _, Result, ensure};
use bdr_bench::{job::Job, round::measure_warm};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// The size of a part in bytes.
const PART_SIZE: u64 = 8 * 1024 * 1024;
/// Parts in flight.
const MAX_PARTS: usize = 4;

struct Floor {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    job: Job,
    part: Bytes,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .build();
    let floor = Floor {
        client: Client::builder(TokioExecutor::new()).build(connector),
        job: Job::from_args()?,
        part: vec![0x5a; PART_SIZE as usize].into(),
    };
    measure_warm(|| async {
        if floor.job.uploads_last {
            floor.download().await?;
            floor.upload().await
        } else {
            tokio::try_join!(floor.download(), floor.upload()).map(drop)
        }
    })
    .await
}

impl Floor {
    async fn download(&self) -> Result<()> {
        let received: u64 = stream::iter(&self.job.entries)
            .map(|entry| self.get(&entry.key))
            .buffer_unordered(self.job.concurrency)
            .try_fold(0, async |sum, size| Ok(sum + size))
            .await?;
        let expected = self.job.bytes();
        ensure!(received == expected, "received {received} bytes instead of {expected}");
        Ok(())
    }

    /// Discards an artwork and returns its size.
    async fn get(&self, key: &str) -> Result<u64> {
        let mut body = self.send(Method::GET, key, Bytes::new()).await?.into_body();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            size += frame?.data_ref().map_or(0, |chunk| chunk.len() as u64);
        }
        Ok(size)
    }

    async fn upload(&self) -> Result<()> {
        let (zip, size) = (&self.job.zip, self.job.bytes());
        if size <= PART_SIZE {
            let content = self.part.slice(..size as usize);
            return self.send(Method::PUT, zip, content).await.map(drop);
        }
        let created = self.send(Method::POST, &format!("{zip}?uploads="), Bytes::new()).await?;
        let created = created.into_body().collect().await?.to_bytes();
        let created = String::from_utf8_lossy(&created);
        let id = created.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once('<'));
        let (id, _) = id.context("the response has no UploadId")?;
        let mut parts: Vec<_> = stream::iter(1..=size.div_ceil(PART_SIZE))
            .map(async |number| {
                let length = PART_SIZE.min(size - (number - 1) * PART_SIZE) as usize;
                let path = format!("{zip}?partNumber={number}&uploadId={id}");
                let sent = self.send(Method::PUT, &path, self.part.slice(..length)).await?;
                anyhow::Ok((number, sent.headers()["etag"].to_str()?.to_owned()))
            })
            .buffer_unordered(MAX_PARTS)
            .try_collect()
            .await?;
        parts.sort_unstable();
        let parts = parts.iter().map(|(number, e_tag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{e_tag}</ETag></Part>")
        });
        let parts = parts.collect::<String>();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.send(Method::POST, &format!("{zip}?uploadId={id}"), list.into()).await.map(drop)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let url = format!("{}/{}/{path}", self.job.endpoint, self.job.bucket);
        let request = Request::builder().method(method).uri(url).body(Full::new(body))?;
        let response = self.client.request(request).await?;
        ensure!(response.status().is_success(), "the response for {path} is {}", response.status());
        Ok(response)
    }
}
