//! The lines that a function logged about a request, from CloudWatch Logs.

use anyhow::{Context as _, Result};
use aws_config::SdkConfig;
use aws_sdk_cloudwatchlogs::Client;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::advised::Advised;

/// A line of a function's log.
#[derive(Debug)]
pub(crate) struct LogEvent {
    pub(crate) time: OffsetDateTime,
    /// The line: an object, or text if it is not JSON.
    pub(crate) event: Value,
}

/// Returns the lines of a log group since `begin` that contain the id, without metrics.
pub(crate) async fn read(
    aws: &SdkConfig,
    group: &str,
    bdr_id: Uuid,
    begin: OffsetDateTime,
) -> Result<Vec<LogEvent>> {
    let call = Client::new(aws).filter_log_events().log_group_name(group);
    let call = call.filter_pattern(format!("\"{bdr_id}\""));
    let call = call.start_time(begin.unix_timestamp() * 1000);
    let mut pages = call.into_paginator().send();
    let mut lines = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.with_context(|| {
            Advised::new(
                format!("failed to read the log group {group}"),
                "Check the credentials (logs:FilterLogEvents).",
            )
        })?;
        let events = page.events.unwrap_or_default().into_iter();
        lines.extend(events.filter_map(|event| {
            let time = i128::from(event.timestamp?) * 1_000_000;
            let time = OffsetDateTime::from_unix_timestamp_nanos(time).ok()?;
            let text = event.message?.trim_end().to_owned();
            let event = serde_json::from_str(&text).unwrap_or(Value::String(text));
            // Metrics repeat the outcome line.
            event.get("_aws").is_none().then_some(LogEvent { time, event })
        }));
    }
    Ok(lines)
}
