//! `status`: one request with all its fields, or a list.

use anyhow::Result;
use serde::Serialize;
use shared::request::{Filter, Overview};
use uuid::Uuid;

use crate::arguments::StatusArguments;
use crate::export::Progress;
use crate::operator::Operator;
use crate::output::{Printer, age_of, note, pairs, table, time};

/// A request, its error message, and the progress of its large export.
#[derive(Serialize)]
struct RequestDetails {
    #[serde(flatten)]
    request: Overview,
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    export: Option<Progress>,
}

/// Shows requests.
pub(crate) async fn run(
    operator: &Operator,
    arguments: StatusArguments,
    printer: Printer,
) -> Result<bool> {
    match arguments.bdr_id {
        Some(bdr_id) => one(operator, bdr_id, printer).await,
        None => list(operator, arguments, printer).await,
    }
}

async fn one(operator: &Operator, bdr_id: Uuid, printer: Printer) -> Result<bool> {
    let request = operator.request(bdr_id).await?;
    let error_message = operator.requests().await?.error_message(bdr_id).await?;
    // Without the progress the row is still worth showing.
    let export = operator.progress_of(&request).await.unwrap_or_else(|error| {
        note(&format!("The progress of its export is unknown: {error:#}"));
        None
    });
    let details = RequestDetails { request, error_message, export };
    printer.result(&details, || {
        let RequestDetails { request, error_message, export } = &details;
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let more =
            if request.awaits_cleanup { "; the next cleanup deletes its archive" } else { "" };
        let state = format!("{} for {}{more}", request.status, age_of(request));
        let size = request.file_size_bytes.map(|bytes| format!("{bytes} bytes"));
        let export = export.as_ref().map(|export| ("export", export.text()));
        let rows = [
            ("request", request.bdr_id.to_string()),
            ("state", state),
            ("artist", or_dash(request.user_id.map(|id| format!("user {id}")))),
            ("artworks", or_dash(request.artworks.map(|count| count.to_string()))),
            ("created", time(request.created_at)),
            ("started", time(request.started_at)),
            ("completed", time(request.completed_at)),
            ("expires", time(request.expires_at)),
            ("archive", or_dash(request.file_path.clone())),
            ("size", or_dash(size)),
            ("error", or_dash(error_message.clone())),
        ];
        pairs(rows.into_iter().chain(export))
    })?;
    Ok(true)
}

async fn list(operator: &Operator, arguments: StatusArguments, printer: Printer) -> Result<bool> {
    let filter = Filter {
        bdr_ids: Vec::new(),
        states: arguments.state,
        age_seconds: arguments.older_than.unwrap_or_default().as_secs_f64(),
        limit: arguments.limit,
    };
    let requests = operator.requests().await?.overview(&filter).await?;
    if requests.is_empty() {
        printer.empty("No request matches.")?;
        return Ok(true);
    }
    printer.result(&requests, || {
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
        table(["request", "state", "age", "user", "artworks", "bytes"], rows)
    })?;
    if i64::try_from(requests.len()).is_ok_and(|count| count >= arguments.limit) {
        note(&format!("Listed {}, the limit. To list more, raise --limit.", arguments.limit));
    }
    Ok(true)
}
