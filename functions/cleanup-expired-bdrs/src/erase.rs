//! The unit of work of an erasure: deletes what the vault has of a request or of a user, at once.
//!
//! It closes the rows first, so that no attempt marks one `ready` any more. Then it aborts the open
//! uploads, and deletes the objects last: an upload that is completed in between is an object by then.
//! An attempt that stores its ZIP even later finds its row closed or deleted, and deletes the ZIP
//! itself. Objects whose rows are gone, as after `ON DELETE CASCADE`, are found by their keys.

use serde_json::{Map, json};
use shared::failure::{Failure, chain};
use shared::metrics::{self, Record, millis};
use shared::sqid::Sqid;
use shared::vault::{ArchiveKey, Erasable};
use tokio::time::Instant;
use uuid::Uuid;

use crate::context::Cleanup;
use crate::erasure::Erasure;

/// What to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All objects of the user with this public id.
    User(Sqid),
    /// All objects of this request.
    Request(Uuid),
}

impl Cleanup {
    /// Erases `target`. Starts no page after `stop_at`; `more` in the answer then says that work is
    /// left. Repeating it is harmless.
    ///
    /// # Errors
    /// When the database or the vault does not respond.
    pub async fn erase(&self, target: &Target, stop_at: Instant) -> Result<Erasure, Failure> {
        let (mut erasure, started) = (Erasure::default(), Instant::now());
        let ended = self.erase_within(target, stop_at, &mut erasure).await;
        self.report_erasure(target, &erasure, ended.as_ref().err(), started);
        ended.map(|()| erasure)
    }

    async fn erase_within(
        &self,
        target: &Target,
        stop_at: Instant,
        erasure: &mut Erasure,
    ) -> Result<(), Failure> {
        self.requests
            .check_connection()
            .await
            .map_err(|error| error.context("failed to start the erasure"))?;
        let scopes = match target {
            Target::User(sqid) => {
                self.close_requests_of(sqid, stop_at, erasure).await?;
                vec![Erasable::of_user(sqid)]
            }
            Target::Request(bdr_id) => self.close_request(*bdr_id, erasure).await?,
        };
        for scope in &scopes {
            self.abort_uploads(scope, stop_at, erasure).await?;
            self.delete_objects(scope, stop_at, erasure).await?;
        }
        Ok(())
    }

    /// Closes all requests of a user.
    async fn close_requests_of(
        &self,
        sqid: &Sqid,
        stop_at: Instant,
        erasure: &mut Erasure,
    ) -> Result<(), Failure> {
        const FAILED: &str = "failed to close the user's requests";
        let encoded = self.sqids.id(sqid);
        let users = self.requests.users_of(sqid.as_str(), encoded).await;
        let users = users.map_err(|error| error.context("failed to find the user"))?;
        while !users.is_empty() && erasure.has_time_left(stop_at) {
            let closed = self.requests.erase_of_users(&users).await;
            match closed.map_err(|error| error.context(FAILED))? {
                0 => break,
                closed => erasure.closed += closed,
            }
        }
        Ok(())
    }

    /// Closes a request, and returns where its objects may be: under its user if the row tells which,
    /// and under any user otherwise.
    async fn close_request(
        &self,
        bdr_id: Uuid,
        erasure: &mut Erasure,
    ) -> Result<Vec<Erasable>, Failure> {
        let unmarked = self.vault.delete_email_mark(bdr_id).await;
        unmarked
            .map_err(|error| Failure::retry("failed to delete the mark of an e-mail", error))?;
        let found = self.requests.find(bdr_id).await;
        let Some(request) = found.map_err(|error| error.context("failed to read the request"))?
        else {
            return Ok(vec![Erasable::of_request_of_any_user(bdr_id)]);
        };
        erasure.closed += self
            .requests
            .erase_request(bdr_id)
            .await
            .map_err(|error| error.context("failed to close the request"))?;
        let stored = request.file_path.as_deref().and_then(ArchiveKey::parse);
        let stored = stored.filter(|key| key.bdr_id() == Some(bdr_id));
        let stored = stored.and_then(|key| key.user());
        let current = request
            .user_id
            .and_then(|user_id| self.sqids.sqid(request.user_sqid.as_deref(), user_id));
        let mut users: Vec<Sqid> = stored.into_iter().chain(current).collect();
        users.dedup();
        if users.is_empty() {
            return Ok(vec![Erasable::of_request_of_any_user(bdr_id)]);
        }
        Ok(users.iter().map(|user| Erasable::of_request(user, bdr_id)).collect())
    }

    async fn abort_uploads(
        &self,
        scope: &Erasable,
        stop_at: Instant,
        erasure: &mut Erasure,
    ) -> Result<(), Failure> {
        let mut after = None;
        while erasure.has_time_left(stop_at) {
            let page = self
                .vault
                .list_uploads(scope, after)
                .await
                .map_err(|error| Failure::retry("failed to list the uploads", error))?;
            for upload in &page.uploads {
                match self.vault.abort(upload).await {
                    Ok(was_open) => erasure.aborted_uploads += usize::from(was_open),
                    Err(error) => {
                        let error = format!("failed to abort the upload: {error}");
                        erasure.add_error(&upload.key, error);
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn delete_objects(
        &self,
        scope: &Erasable,
        stop_at: Instant,
        erasure: &mut Erasure,
    ) -> Result<(), Failure> {
        let mut after: Option<String> = None;
        while erasure.has_time_left(stop_at) {
            let page = self
                .vault
                .list_erasable(scope, after.as_deref())
                .await
                .map_err(|error| Failure::retry("failed to list the objects", error))?;
            if !page.keys.is_empty() {
                let not_erased = self.vault.erase(&page.keys).await;
                let not_erased = not_erased
                    .map_err(|error| Failure::retry("failed to delete the objects", error))?;
                erasure.erased += page.keys.len() - not_erased.len();
                for object in not_erased {
                    let error = format!("failed to delete the object: {}", object.code);
                    erasure.add_error(&object.key, error);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Writes the outcome line and the metrics of an erasure.
    fn report_erasure(
        &self,
        target: &Target,
        erasure: &Erasure,
        failure: Option<&Failure>,
        started: Instant,
    ) {
        let result = if failure.is_none() { "success" } else { "failed" };
        let duration = started.elapsed();
        // `tracing` needs a constant level.
        macro_rules! outcome_line {
            ($level:ident) => {
                tracing::$level!(
                    result,
                    error = failure.map(|failure| chain(failure)),
                    ?target,
                    duration_ms = millis(duration),
                    closed = erasure.closed,
                    erased = erasure.erased,
                    aborted_uploads = erasure.aborted_uploads,
                    errors = erasure.error_count,
                    more = erasure.more,
                    gb_seconds = self.metrics.gb_seconds(duration),
                    "erasure ended"
                )
            };
        }
        if failure.is_none() {
            outcome_line!(info);
        } else {
            outcome_line!(error);
        }
        let mut record = Record::of(Map::from_iter([
            ("event".to_owned(), json!("erasure")),
            ("status".to_owned(), json!(result)),
        ]));
        let errors = erasure.error_count + usize::from(failure.is_some());
        record.put(metrics::CLEANUP_ERRORS, errors);
        self.metrics.emit(&[record]);
    }
}
