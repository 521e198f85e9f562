//! The e-mail step: who gets which e-mail, under a time limit and a panic boundary of its own, so that
//! it never changes how the attempt ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use shared::database::Database;
use shared::failure::{Failure, chain};
use shared::request::Claim;
use shared::sqid::{Sqid, SqidSource};
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::mailer::{EmailOutcome, Mailer};
use super::{FailedEmail, ReadyEmail};
use crate::archive::StoredArchive;
use crate::load::{Artist, Recipient, without_duplicates};
use crate::wording::Wording;

/// The sender of e-mails about requests.
pub struct Notifier {
    /// The SES client.
    pub mailer: Mailer,
    /// The database of the artists.
    pub database: Arc<Database>,
    /// The source of public ids, for links.
    pub sqids: SqidSource,
    /// The names and words of the site.
    pub wording: Wording,
    /// `BASE_URL`.
    pub base_url: String,
    /// `ARTIST_PATH`: the page of an artist, below `base_url`.
    pub artist_path: String,
    /// `EMAIL_ON_FAILURE`.
    pub email_on_failure: bool,
}

/// The change of a row that an e-mail reports. Only the attempt that made the change sends the e-mail,
/// so there is at most one of each kind.
pub(crate) enum Notice<'a> {
    /// The row became `ready`.
    Ready { artist: &'a Artist, archive: &'a StoredArchive, expires_at: OffsetDateTime },
    /// The row became `failed`.
    Failed { failure: &'a Failure },
}

impl Notifier {
    /// Sends the e-mail for `notice`, if the request asks for one, and gives up at `stop_at`.
    pub(crate) async fn notify(
        &self,
        claim: &Claim,
        notice: Notice<'_>,
        stop_at: Instant,
    ) -> EmailOutcome {
        let is_wanted = match notice {
            Notice::Ready { .. } => claim.send_email,
            Notice::Failed { .. } => claim.send_email && self.email_on_failure,
        };
        if !is_wanted {
            return EmailOutcome::NotWanted;
        }
        if Instant::now() >= stop_at {
            return EmailOutcome::Skipped("no time is left before the deadline");
        }
        let step = async {
            match notice {
                Notice::Ready { artist, archive, expires_at } => {
                    self.send_ready(claim, artist, archive, expires_at).await
                }
                Notice::Failed { failure } => self.send_failed(claim, failure, stop_at).await,
            }
        };
        match timeout_at(stop_at, AssertUnwindSafe(step).catch_unwind()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => EmailOutcome::failed("the e-mail step panicked"),
            Err(_) => EmailOutcome::failed("SES did not respond before the deadline"),
        }
    }

    /// Sends the e-mail about a ready request to an artist who was looked up again, and may be gone.
    pub(crate) async fn notify_ready(
        &self,
        claim: &Claim,
        recipient: Option<Recipient>,
        archive: &StoredArchive,
        expires_at: OffsetDateTime,
        stop_at: Instant,
    ) -> EmailOutcome {
        let Some(artist) = recipient.and_then(Artist::from_recipient) else {
            return EmailOutcome::Skipped("the artist or their public id is gone");
        };
        let notice = Notice::Ready { artist: &artist, archive, expires_at };
        self.notify(claim, notice, stop_at).await
    }

    async fn send_ready(
        &self,
        claim: &Claim,
        artist: &Artist,
        archive: &StoredArchive,
        expires_at: OffsetDateTime,
    ) -> EmailOutcome {
        let link = self.link(&artist.sqid, claim.bdr_id, true);
        let email = ReadyEmail {
            wording: &self.wording,
            handle: &artist.handle,
            artworks: archive.artworks,
            missing: archive.missing,
            contents: archive.contents.as_ref(),
            size_bytes: archive.size_bytes,
            link: &link,
            expires_at,
        };
        self.mailer.send(artist.email.as_deref(), &email).await
    }

    /// Looks the artist up first: the failure may have occurred before the artist was loaded.
    async fn send_failed(
        &self,
        claim: &Claim,
        failure: &Failure,
        stop_at: Instant,
    ) -> EmailOutcome {
        let recipient = match timeout_at(stop_at, self.recipient(claim)).await {
            Ok(Ok(recipient)) => recipient,
            Ok(Err(reason)) => return EmailOutcome::Skipped(reason),
            Err(_) => {
                return EmailOutcome::Skipped(
                    "the artist could not be looked up before the deadline",
                );
            }
        };
        let link = match &recipient.sqid {
            Some(sqid) => self.link(sqid, claim.bdr_id, false),
            None => self.base_url.clone(),
        };
        let email = FailedEmail {
            wording: &self.wording,
            handle: &recipient.handle,
            requested: without_duplicates(&claim.post_ids).len(),
            message: &failure.artist_message(),
            link: &link,
        };
        self.mailer.send(recipient.email.as_deref(), &email).await
    }

    /// Returns the URL of the artist's page, with or without its query.
    fn link(&self, artist: &Sqid, request: Uuid, with_query: bool) -> String {
        let page = self.artist_path.split('?').next().unwrap_or_default();
        let path = if with_query { self.artist_path.as_str() } else { page };
        let path = path.replace("{request}", &request.to_string());
        format!("{}{}", self.base_url, path.replace("{user}", artist.as_str()))
    }

    /// Returns the artist, or the reason why there is none.
    async fn recipient(&self, claim: &Claim) -> Result<Recipient, &'static str> {
        let user_id = claim.user_id.ok_or("the request has no user_id")?;
        Recipient::find(&self.database, &self.sqids, user_id)
            .await
            .map_err(|error| {
                tracing::warn!(error = chain(&error), "failed to look the artist up");
                "the artist could not be looked up"
            })?
            .ok_or("user not found")
    }
}
