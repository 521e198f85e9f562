//! s-zip with the AWS SDK, as a user of both would write it: 32 GETs in flight and at most 64 MB ahead,
//! entries in order and stored, parts of 8 MiB and four in flight.

use anyhow::Result;
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use bdr_bench::{job::Job, round::measure_warm};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use s_zip::{AsyncStreamingZipWriter, CompressionMethod, cloud::S3ZipWriter};

#[tokio::main]
async fn main() -> Result<()> {
    let job = Job::from_args()?;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(&job.endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
        .build();
    let client = Client::from_conf(config);
    measure_warm(|| zip(&client, &job)).await
}

async fn zip(client: &Client, job: &Job) -> Result<()> {
    let largest = job.entries.iter().map(|entry| entry.size).max().unwrap_or(1).max(1);
    let ahead = ((64 << 20) / largest).clamp(1, job.concurrency as u64) as usize;
    let sink = S3ZipWriter::builder()
        .client(client.clone())
        .bucket(&job.bucket)
        .key(&job.zip)
        .part_size(8 << 20)
        .max_concurrent_uploads(4)
        .build()
        .await?;
    let mut zip =
        AsyncStreamingZipWriter::from_writer_with_method(sink, CompressionMethod::Stored, 0);
    let mut fetched = stream::iter(&job.entries)
        .map(async |entry| {
            let response = client.get_object().bucket(&job.bucket).key(&entry.key).send().await?;
            anyhow::Ok((entry, response.body.collect().await?.into_bytes()))
        })
        .buffered(ahead);
    while let Some((entry, bytes)) = fetched.try_next().await? {
        zip.start_entry(&entry.name).await?;
        zip.write_data(&bytes).await?;
    }
    zip.start_entry("metadata.json").await?;
    zip.write_data(&serde_json::to_vec_pretty(job)?).await?;
    zip.finish().await?;
    Ok(())
}
