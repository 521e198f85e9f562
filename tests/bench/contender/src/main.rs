//! A contender of the public benchmark <https://github.com/RustyServerless/demo-s3-archiving>: all objects
//! below a prefix as one ZIP.
//!
//! The event is `{"bucket_name", "files_prefix", "archive_key"}`. Every entry has the last segment of
//! its key as its name. `PREFER` (`price` or `speed`), `BUFFER_MIB`, the memory for part buffers, and
//! `COPY` (`false`: every byte is sent) are variables of the function.

mod config;

use anyhow::{Context as _, Result};
use lambda_runtime::Error;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::config::Environment;
use shared::failure::Failure;
use shared::lambda::InvocationError;
use zip_to_s3::plan::Terms;
use zip_to_s3::store::Bucket;
use zip_to_s3::{Destination, Entry, Object, Source, archive};

/// The event of an invocation.
#[derive(Debug, Deserialize)]
struct Event {
    bucket_name: String,
    /// Without a trailing slash.
    files_prefix: String,
    archive_key: String,
}

struct Handler {
    s3: aws_sdk_s3::Client,
    terms: Terms,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    shared::lambda::run("zip-to-s3-contender", init, async |handler, event| {
        let event = serde_json::from_value(event.payload)
            .map_err(|error| InvocationError::invalid_payload(error.to_string()))?;
        let handled = handler.handle(event).await;
        handled.map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "failed to write the archive");
            Failure::retry("failed to write the archive", error).into()
        })
    })
    .await
}

async fn init(environment: &Environment) -> Result<Handler, Error> {
    let trust = shared::aws::Trust::from_environment(environment)?;
    let aws = shared::aws::from_environment(environment, &trust);
    // Path style also serves a stand-in, which has no host name per bucket.
    let path_style = environment.optional("AWS_ENDPOINT_URL").is_some();
    Ok(Handler { s3: shared::aws::s3(&aws, path_style), terms: config::terms(environment)? })
}

impl Handler {
    async fn handle(&self, event: Event) -> Result<Value> {
        let entries = self.list(&event.bucket_name, &format!("{}/", event.files_prefix)).await?;
        let count = entries.len();
        let bucket = Bucket::new(self.s3.clone(), event.bucket_name);
        let to = Destination { key: event.archive_key, comment: String::new(), replace: true };
        let report = archive(&bucket, &to, entries, &self.terms).await?;
        let requests_usd = report.requests.price(&self.terms.prices);
        tracing::info!(?report, requests_usd, "wrote the archive");
        Ok(json!({ "entries": count, "size_bytes": report.size, "requests_usd": requests_usd }))
    }

    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let listing = self.s3.list_objects_v2().bucket(bucket).prefix(prefix);
        let mut pages = listing.into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.context("failed to list the objects")?.contents.unwrap_or_default() {
                let key = object.key.context("an object has no key")?;
                let name = key.rsplit('/').next().unwrap_or(&key).to_owned();
                // The object of a folder.
                if name.is_empty() {
                    continue;
                }
                let size = u64::try_from(object.size.unwrap_or(0))?;
                let source = Source::Object(Object { key, size, e_tag: object.e_tag });
                entries.push(Entry { name, modified: None, source });
            }
        }
        Ok(entries)
    }
}
