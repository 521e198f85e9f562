//! The peer: s-zip with the AWS SDK, as a user of both would write it. 32 GETs in flight and at most 64 MB
//! ahead, entries in order and stored, parts of 8 MiB and four in flight.

use std::path::PathBuf;

use anyhow::Result;
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use bdr_bench_jobs::{manifest::Manifest, rounds};
use clap::Parser;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use s_zip::{AsyncStreamingZipWriter, CompressionMethod, cloud::S3ZipWriter};

#[derive(Parser)]
struct Options {
    manifest: PathBuf,
    /// URL of the S3 server. The roots of its certificate stand in `SSL_CERT_FILE`.
    #[arg(long)]
    endpoint: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let manifest = Manifest::read(&options.manifest)?;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(options.endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
        .build();
    let client = Client::from_conf(config);
    rounds::twice(|| zip(&client, &manifest)).await
}

async fn zip(client: &Client, manifest: &Manifest) -> Result<()> {
    let largest = manifest.entries.iter().map(|entry| entry.size).max().unwrap_or(1).max(1);
    let ahead = ((64 << 20) / largest).clamp(1, 32) as usize;
    let sink = S3ZipWriter::builder()
        .client(client.clone())
        .bucket(&manifest.bucket)
        .key(&manifest.zip)
        .part_size(8 << 20)
        .max_concurrent_uploads(4)
        .build()
        .await?;
    let mut zip =
        AsyncStreamingZipWriter::from_writer_with_method(sink, CompressionMethod::Stored, 0);
    let mut fetched = stream::iter(&manifest.entries)
        .map(async |entry| {
            let answer =
                client.get_object().bucket(&manifest.bucket).key(&entry.key).send().await?;
            anyhow::Ok((entry, answer.body.collect().await?.into_bytes()))
        })
        .buffered(ahead);
    while let Some((entry, bytes)) = fetched.try_next().await? {
        zip.start_entry(&entry.name).await?;
        zip.write_data(&bytes).await?;
    }
    zip.start_entry("metadata.json").await?;
    zip.write_data(&serde_json::to_vec_pretty(manifest)?).await?;
    zip.finish().await?;
    Ok(())
}
