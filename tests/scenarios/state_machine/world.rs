//! One request, everybody who has to do with it, and the time.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bdr_tests::Scenario;
use local_stack::seed;
use presign_bdr_download::answer::{Answer, answer};
use shared::config::Environment;
use shared::database::{Database, DatabaseSource};
use shared::request::Requests;
use shared::vault::{ArchiveKey, Vault};
use time::Duration;
use tokio_postgres::Client;
use uuid::Uuid;

use super::attempt::Attempt;
use super::cleanup::Cleanup;
use super::invariants::{History, Row};
use super::model::{Bucket, Place as MessagePlace, Queue};
use super::step::{Step, Task, Who};
use super::tally::Tally;

/// Where requests live. Each is alone there for its time.
pub(super) struct Place {
    /// With all rights, as the API and an operator have them.
    pub(super) database: Client,
    /// With the rights of the functions.
    pub(super) requests: Requests,
    /// For signing only.
    vault: Vault,
    user_id: i32,
    user_sqid: shared::sqid::Sqid,
}

/// One request in the course of a schedule.
pub(super) struct World<'a> {
    pub(super) place: &'a Place,
    pub(super) tally: &'a mut Tally,
    pub(super) bdr_id: Uuid,
    pub(super) key: ArchiveKey,
    /// The time that steps have let pass. What the database's clock adds meanwhile is nothing to it.
    pub(super) now: Duration,
    pub(super) bucket: Bucket,
    pub(super) queue: Queue,
    pub(super) attempts: [Option<Attempt>; 2],
    pub(super) cleanups: [Cleanup; 2],
    pub(super) history: History,
}

/// Longest life of an invocation (AWS Lambda, "Function timeout"), in time that passes.
const MAX_INVOCATION: Duration = Duration::minutes(15);
/// `DOWNLOAD_URL_TTL_SECONDS`.
const URL_TTL: std::time::Duration = std::time::Duration::from_mins(15);

impl Place {
    pub(super) fn new(s: Scenario) -> Self {
        let source = DatabaseSource::from_environment(&Environment::of([(
            "DATABASE_URL",
            s.database_url.as_str(),
        )]))
        .unwrap();
        Self {
            vault: Vault::new(s.s3.clone(), s.bucket()),
            user_sqid: shared::sqid::Sqid::parse(&s.user_sqid).unwrap(),
            database: s.database,
            requests: Requests::new(Arc::new(Database::new(source, None))),
            user_id: s.user_id,
        }
    }
}

impl<'a> World<'a> {
    /// A new request, and nothing else.
    pub(super) async fn new(place: &'a Place, tally: &'a mut Tally) -> Result<Self> {
        place.database.batch_execute("DELETE FROM batch_download_requests").await?;
        let request = seed::Request {
            user_id: place.user_id,
            post_ids: vec![1],
            include_comments: false,
            include_reactions: false,
            send_email: true,
        };
        let bdr_id = request.insert(&place.database).await?;
        Ok(Self {
            place,
            tally,
            bdr_id,
            key: ArchiveKey::new(&place.user_sqid, bdr_id),
            now: Duration::ZERO,
            bucket: Bucket::default(),
            queue: Queue::default(),
            attempts: [None, None],
            cleanups: Default::default(),
            history: History::default(),
        })
    }

    /// Takes a step, and looks whether all still holds.
    pub(super) async fn apply(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Publish => self.publish(),
            Step::Redeliver(who) => self.receive(who, |place| place == MessagePlace::Leased),
            Step::Attempt(who) if self.attempts[who].is_none() => self.receive_visible(who),
            Step::Attempt(who) => self.advance(who, false).await?,
            Step::FinishAttempt(who) => {
                self.receive_visible(who);
                self.finish_attempt(who).await?;
            }
            Step::LoseAnswer(who) => self.advance(who, true).await?,
            Step::Fail(who, decision) => self.fail(who, decision),
            Step::Crash(who) => self.crash(who),
            Step::Cleanup(who, task) => {
                self.cleanups[who].begin(task, self.now);
                self.clean(who).await?;
            }
            Step::FinishCleanup(who) => self.finish_cleanup(who).await?,
            Step::CrashCleanup(who) => self.cleanups[who] = Cleanup::default(),
            Step::Presign { owner } => self.presign(owner).await?,
            Step::Reopen => self.reopen().await?,
            Step::Pass(minutes) => self.pass(Duration::minutes(minutes)).await?,
        }
        self.check().await
    }

    fn receive_visible(&mut self, who: Who) {
        let now = self.now;
        self.receive(who, |place| matches!(place, MessagePlace::Queue(at) if at <= now));
    }

    pub(super) fn publish(&mut self) {
        // More would only make schedules longer.
        if self.queue.alive() < 3 {
            self.queue.publish(self.now);
            self.history.published = true;
        }
    }

    /// Lets time pass: all that stands in the row was longer ago. Nobody outlives its invocation.
    async fn pass(&mut self, time: Duration) -> Result<()> {
        let seconds = time.as_seconds_f64();
        let sql = "UPDATE batch_download_requests
                      SET created_at = created_at - make_interval(secs => $1),
                          started_at = started_at - make_interval(secs => $1),
                          completed_at = completed_at - make_interval(secs => $1),
                          expires_at = expires_at - make_interval(secs => $1)";
        self.place.database.execute(sql, &[&seconds]).await?;
        self.now += time;
        for who in 0..2 {
            let now = self.now;
            let over = |begun| now - begun > MAX_INVOCATION;
            if self.attempts[who].as_ref().is_some_and(|attempt| over(attempt.begun)) {
                self.crash(who);
            } else if let Some(attempt) = &mut self.attempts[who] {
                attempt.token_passes(time);
            }
            if over(self.cleanups[who].begun) {
                self.cleanups[who] = Cleanup::default();
            }
        }
        Ok(())
    }

    async fn presign(&mut self, owner: bool) -> Result<()> {
        let row = self.row().await?;
        let user_id = if owner { self.place.user_id } else { self.place.user_id + 1 };
        let Place { requests, vault, .. } = self.place;
        let answer = answer(requests, vault, URL_TTL, self.bdr_id, user_id).await?;
        let status = row.as_ref().map(|row| row.status.as_str());
        let over = row.as_ref().is_some_and(|row| row.is_over);
        let expected = match status.filter(|_| owner) {
            None => "not_found",
            Some("ready") if !over => "ok",
            Some("ready" | "expired") => "expired",
            Some(_) => "not_ready",
        };
        let answered = serde_json::to_value(&answer)?;
        ensure!(answered["status"] == expected, "10: presign says {answered} of {row:?}");
        if let Answer::Ok { url_expires_at, .. } = answer {
            let until = row.and_then(|row| row.expires_at).context("10: ok of no row")?;
            ensure!(url_expires_at <= until, "10: a URL until {url_expires_at}, {until}");
            self.tally.count("presigned");
        }
        Ok(())
    }

    /// What the runbook tells an operator to do about a request that failed; what else it clears, a
    /// claim would clear.
    async fn reopen(&mut self) -> Result<()> {
        let sql = "UPDATE batch_download_requests
                      SET status = 'pending',
                          started_at = greatest(clock_timestamp(),
                                                started_at + interval '1 microsecond')
                    WHERE id = $1 AND status = 'failed'";
        if self.place.database.execute(sql, &[&self.bdr_id]).await? == 1 {
            self.tally.count("reopened");
            self.history.reopened(self.now);
            self.queue.clear_dead_letters();
            self.queue.publish(self.now);
        }
        Ok(())
    }

    pub(super) async fn row(&self) -> Result<Option<Row>> {
        Row::read(&self.place.database, self.bdr_id, self.now).await
    }

    /// Lets whoever is at work die, and every message and the hourly cleanup come.
    pub(super) async fn come_to_an_end(&mut self) -> Result<()> {
        for who in 0..2 {
            self.apply(Step::Crash(who)).await?;
            self.apply(Step::CrashCleanup(who)).await?;
        }
        for hour in 0..12 {
            for _ in 0..8 {
                self.apply(Step::Pass(if hour == 0 { 11 } else { 65 })).await?;
                self.apply(Step::FinishAttempt(0)).await?;
                if self.row().await?.is_none_or(|row| !row.is_open()) {
                    return Ok(());
                }
                if self.queue.alive() == 0 {
                    break;
                }
            }
            let has_message = self.history.published && !self.queue.has_dead_letters();
            ensure!(!has_message, "the message did not bring the request to its end");
            for task in [Task::Rescue, Task::Republish] {
                self.apply(Step::Cleanup(0, task)).await?;
                self.apply(Step::FinishCleanup(0)).await?;
            }
        }
        anyhow::bail!("the request is never closed: {:?}", self.row().await?)
    }
}
