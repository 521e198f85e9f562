//! `status`: one request in full, or a list.

use anyhow::Result;
use serde::Serialize;
use shared::request::{Filter, Overview};
use uuid::Uuid;

use crate::arguments::StatusArguments;
use crate::operator::Operator;
use crate::output::{Output, age, note, pairs, table, time};

/// A request with what the artist was told.
#[derive(Serialize)]
struct Full {
    #[serde(flatten)]
    request: Overview,
    error_message: Option<String>,
}

/// Shows requests.
pub(crate) async fn run(
    operator: &Operator,
    arguments: StatusArguments,
    output: Output,
) -> Result<bool> {
    match arguments.bdr_id {
        Some(bdr_id) => one(operator, bdr_id, output).await,
        None => list(operator, arguments, output).await,
    }
}

async fn one(operator: &Operator, bdr_id: Uuid, output: Output) -> Result<bool> {
    let request = operator.request(bdr_id).await?;
    let error_message = operator.requests().await?.error_message(bdr_id).await?;
    let full = Full { request, error_message };
    output.result(&full, || {
        let Full { request, error_message } = &full;
        let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        let size = request.file_size_bytes.map(|bytes| format!("{bytes} bytes"));
        pairs([
            ("request", request.bdr_id.to_string()),
            ("state", format!("{} for {}", request.status, age_of(request))),
            ("artist", number(request.user_id.map(|id| format!("user {id}")))),
            ("artworks", number(request.artworks.map(|count| count.to_string()))),
            ("created", time(request.created_at)),
            ("started", time(request.started_at)),
            ("completed", time(request.completed_at)),
            ("expires", time(request.expires_at)),
            ("archive", number(request.file_path.clone())),
            ("size", number(size)),
            ("error", number(error_message.clone())),
        ])
    })?;
    Ok(true)
}

async fn list(operator: &Operator, arguments: StatusArguments, output: Output) -> Result<bool> {
    let filter = Filter {
        bdr_ids: Vec::new(),
        states: arguments.state,
        age_seconds: arguments.older_than.unwrap_or_default().as_secs_f64(),
        limit: arguments.limit,
    };
    let requests = operator.requests().await?.overview(&filter).await?;
    output.result(&requests, || {
        let rows = requests.iter().map(|request| {
            [
                request.bdr_id.to_string(),
                request.status.clone(),
                age_of(request),
                request.user_id.map(|id| id.to_string()).unwrap_or_default(),
                request.artworks.map(|count| count.to_string()).unwrap_or_default(),
                request.file_size_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            ]
        });
        table(["request", "state", "for", "user", "artworks", "bytes"], rows)
    })?;
    if i64::try_from(requests.len()).is_ok_and(|count| count >= arguments.limit) {
        note(&format!("There may be more: --limit is {}.", arguments.limit));
    }
    Ok(true)
}

fn age_of(request: &Overview) -> String {
    request.since.map_or_else(|| "-".to_owned(), |since| age(request.now - since))
}
