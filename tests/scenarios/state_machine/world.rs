//! One request with its attempts and cleanups, its vault and queue, and the time.

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

use super::attempt::{AttemptStep, SimulatedAttempt};
use super::cleanup::SimulatedCleanup;
use super::coverage::Coverage;
use super::invariants::{History, Row, Statement};
use super::model::{BucketModel, MessageState, QueueModel};
use super::step::{Slot, Step, Task};

/// The database and clients that all schedules share. It holds one request at a time.
pub(super) struct Fixture {
    /// Connection with all rights, as the API and an operator have.
    pub(super) database: Client,
    /// [`Row::SELECT`], prepared once: the invariants read the row several times per step.
    select_row: tokio_postgres::Statement,
    /// The product's statements, with the rights of the functions.
    pub(super) requests: Requests,
    /// Used to sign URLs only.
    vault: Vault,
    user_id: i32,
    user_sqid: shared::sqid::Sqid,
}

/// One request during a schedule.
pub(super) struct World<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) coverage: &'a mut Coverage,
    pub(super) bdr_id: Uuid,
    pub(super) key: ArchiveKey,
    /// Time passed by the steps. The real time that passes meanwhile is negligible.
    pub(super) now: Duration,
    pub(super) bucket: BucketModel,
    pub(super) queue: QueueModel,
    pub(super) attempts: [Option<SimulatedAttempt>; 2],
    pub(super) cleanups: [SimulatedCleanup; 2],
    pub(super) history: History,
    /// Whether the next step of an erasure deletes the object.
    pub(super) erasure_deletes: bool,
}

/// Maximum duration of an invocation (AWS Lambda, "Function timeout").
const MAX_INVOCATION: Duration = Duration::minutes(15);
/// `DOWNLOAD_URL_TTL_SECONDS`.
const URL_TTL: std::time::Duration = std::time::Duration::from_mins(15);

impl Fixture {
    pub(super) async fn new(s: Scenario) -> Self {
        let source = DatabaseSource::from_environment(&Environment::of([(
            "DATABASE_URL",
            s.database_url.as_str(),
        )]))
        .unwrap();
        Self {
            vault: Vault::new(s.s3.clone(), s.bucket()),
            user_sqid: shared::sqid::Sqid::parse(&s.user_sqid).unwrap(),
            select_row: s.database.prepare(Row::SELECT).await.unwrap(),
            database: s.database,
            requests: Requests::new(Arc::new(Database::new(source, None))),
            user_id: s.user_id,
        }
    }
}

impl<'a> World<'a> {
    /// Creates a world with a new request and an empty vault and queue.
    pub(super) async fn new(fixture: &'a Fixture, coverage: &'a mut Coverage) -> Result<Self> {
        fixture.database.batch_execute("DELETE FROM batch_download_requests").await?;
        let request = seed::Request {
            user_id: fixture.user_id,
            post_ids: vec![1],
            include_comments: false,
            include_reactions: false,
            send_email: true,
        };
        let bdr_id = request.insert(&fixture.database).await?;
        Ok(Self {
            fixture,
            coverage,
            bdr_id,
            key: ArchiveKey::new(&fixture.user_sqid, bdr_id),
            now: Duration::ZERO,
            bucket: BucketModel::default(),
            queue: QueueModel::default(),
            attempts: [None, None],
            cleanups: Default::default(),
            history: History::default(),
            erasure_deletes: false,
        })
    }

    /// Takes a step and checks the invariants.
    pub(super) async fn apply(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Publish => self.publish(),
            Step::Redeliver(slot) => self.receive(slot, |state| state == MessageState::Leased),
            Step::Attempt(slot) if self.attempts[slot].is_none() => self.receive_visible(slot),
            Step::Attempt(slot) => self.advance_attempt(slot, false).await?,
            Step::FinishAttempt(slot) => {
                self.receive_visible(slot);
                self.finish_attempt(slot).await?;
            }
            Step::LoseAnswer(slot) => self.advance_attempt(slot, true).await?,
            Step::Fail(slot, decision) => self.fail(slot, decision),
            Step::Crash(slot) => self.crash(slot),
            Step::Cleanup(slot, task) => {
                self.cleanups[slot].begin(task, self.now);
                self.advance_cleanup(slot).await?;
            }
            Step::FinishCleanup(slot) => self.finish_cleanup(slot).await?,
            Step::CrashCleanup(slot) => self.cleanups[slot] = SimulatedCleanup::default(),
            Step::Presign { owner } => self.presign(owner).await?,
            Step::Erase => self.erase().await?,
            Step::Reopen => self.reopen().await?,
            Step::Pass(minutes) => self.pass(Duration::minutes(minutes)).await?,
        }
        self.check().await
    }

    fn receive_visible(&mut self, slot: Slot) {
        let now = self.now;
        self.receive(slot, |state| matches!(state, MessageState::Queued(at) if at <= now));
    }

    pub(super) fn publish(&mut self) {
        // More than three messages would only lengthen the schedules.
        if self.queue.alive() < 3 {
            self.queue.publish(self.now);
            self.history.published = true;
        }
    }

    /// Lets time pass: moves all times of the row into the past, and ends invocations that exceed
    /// their maximum duration.
    async fn pass(&mut self, time: Duration) -> Result<()> {
        let seconds = time.as_seconds_f64();
        let sql = "UPDATE batch_download_requests
                      SET created_at = created_at - make_interval(secs => $1),
                          started_at = started_at - make_interval(secs => $1),
                          completed_at = completed_at - make_interval(secs => $1),
                          expires_at = expires_at - make_interval(secs => $1)";
        self.fixture.database.execute(sql, &[&seconds]).await?;
        self.now += time;
        for slot in 0..2 {
            let now = self.now;
            let over = |begun| now - begun > MAX_INVOCATION;
            if self.attempts[slot].as_ref().is_some_and(|attempt| over(attempt.begun)) {
                self.crash(slot);
            } else if let Some(attempt) = &mut self.attempts[slot] {
                attempt.shift_token(time);
            }
            if over(self.cleanups[slot].begun) {
                self.cleanups[slot] = SimulatedCleanup::default();
            }
        }
        Ok(())
    }

    async fn presign(&mut self, owner: bool) -> Result<()> {
        let row = self.row().await?;
        let user_id = if owner { self.fixture.user_id } else { self.fixture.user_id + 1 };
        let Fixture { requests, vault, .. } = self.fixture;
        let response = answer(requests, vault, URL_TTL, "x", self.bdr_id, user_id.into()).await?;
        let status = row.as_ref().map(|row| row.status.as_str());
        let over = row.as_ref().is_some_and(|row| row.is_over);
        let expected = match status.filter(|_| owner) {
            None => "not_found",
            Some("ready") if !over => "ok",
            Some("ready" | "expired") => "expired",
            Some(_) => "not_ready",
        };
        let json = serde_json::to_value(&response)?;
        ensure!(json["status"] == expected, "10: presign returns {json} for {row:?}");
        if let Answer::Ok { url_expires_at, .. } = response {
            let until = row.and_then(|row| row.expires_at).context("10: ok without a row")?;
            ensure!(url_expires_at <= until, "10: a URL until {url_expires_at}, {until}");
            self.coverage.count("presigned");
        }
        Ok(())
    }

    /// Closes the row for an erasure, or deletes the object as the second step of one.
    async fn erase(&mut self) -> Result<()> {
        if std::mem::take(&mut self.erasure_deletes) {
            if self.bucket.object.take().is_some() {
                self.coverage.count("object erased");
            }
            return Ok(());
        }
        let before = self.row().await?;
        if self.fixture.requests.erase_request(self.bdr_id).await? > 0 {
            self.coverage.count("erased");
        }
        self.erasure_deletes = true;
        let after = self.row().await?;
        self.check_change(Statement::Erase, None, before.as_ref(), after.as_ref())
    }

    /// Reopens a failed request as the runbook describes. The next claim clears the columns that
    /// this statement does not. Waits for attempts that are about to delete their ZIP, as the product's
    /// statement waits for all attempts that may run.
    async fn reopen(&mut self) -> Result<()> {
        let discards =
            |attempt: &SimulatedAttempt| matches!(attempt.next, AttemptStep::Discard { .. });
        if self.attempts.iter().flatten().any(discards) {
            return Ok(());
        }
        let sql = "UPDATE batch_download_requests
                      SET status = 'pending',
                          started_at = greatest(clock_timestamp(),
                                                started_at + interval '1 microsecond')
                    WHERE id = $1 AND status = 'failed'";
        if self.fixture.database.execute(sql, &[&self.bdr_id]).await? == 1 {
            self.coverage.count("reopened");
            self.history.reopened(self.now);
            self.queue.clear_dead_letters();
            self.queue.publish(self.now);
        }
        Ok(())
    }

    pub(super) async fn row(&self) -> Result<Option<Row>> {
        let Fixture { database, select_row, .. } = self.fixture;
        let row = database.query_opt(select_row, &[&self.bdr_id]).await?;
        Ok(row.map(|row| Row::new(&row, self.now)))
    }

    /// Crashes all attempts and cleanups, and then lets messages arrive and the hourly cleanup run
    /// until the request is closed.
    pub(super) async fn finish_request(&mut self) -> Result<()> {
        for slot in 0..2 {
            self.apply(Step::Crash(slot)).await?;
            self.apply(Step::CrashCleanup(slot)).await?;
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
            ensure!(!has_message, "its message did not close the request");
            for task in [Task::Rescue, Task::Republish] {
                self.apply(Step::Cleanup(0, task)).await?;
                self.apply(Step::FinishCleanup(0)).await?;
            }
        }
        anyhow::bail!("the request is never closed: {:?}", self.row().await?)
    }
}
