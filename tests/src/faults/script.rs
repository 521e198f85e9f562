//! Which call suffers what, and what has happened so far.

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::lambda::Killer;

/// How late a delayed call is.
pub(super) const DELAY: Duration = Duration::from_millis(1500);

/// Whom a worker calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The vault.
    S3,
    /// The queue.
    Sqs,
    /// The e-mails.
    Ses,
    /// Somebody else's web server.
    Web,
    /// The database.
    Postgres,
}

/// One call of a worker's: an HTTP request, or one turn of the conversation with PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whom it goes to.
    pub service: Service,
    /// As the service calls it, such as `UploadPart`; for PostgreSQL `connect`, `authenticate`, or
    /// what the statement does, such as `UPDATE ready`.
    pub operation: String,
    /// Method, path and query; for PostgreSQL the statement.
    pub request: String,
}

/// What a call suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The connection is closed, and the service never hears of it.
    LostRequest,
    /// The service has done it, and the connection is closed without a word.
    LostAnswer,
    /// The service has done it, and its answer breaks off halfway.
    TruncatedAnswer,
    /// It reaches the service late.
    Delay,
    /// The answer is an internal error (500); of PostgreSQL, that it is shutting down (57P01).
    Error,
    /// The answer is that there are too many requests, in the service's own words.
    Throttling,
    /// The answer is that this is not allowed (403).
    Denial,
    /// The worker gets `SIGKILL`, and the service never hears of the call.
    KillBefore,
    /// The worker gets `SIGKILL` once the service has done it.
    KillAfter,
    /// It waits until [`Script::let_go`], and then reaches the service.
    Hold,
}

/// Which call suffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The n-th call, from 1, of an operation.
    Nth(Service, String, usize),
    /// The n-th call, from 1, after the fault that stands before it in the script.
    After(usize),
    /// The next call whose request contains this.
    Containing(String),
}

/// The faults for one request's way through its workers, struck in this order.
#[derive(Debug)]
pub struct Script {
    state: Mutex<State>,
    held: Semaphore,
    released: Semaphore,
}

#[derive(Debug)]
struct State {
    planned: Vec<(Target, Fault)>,
    struck: Vec<(Fault, Call)>,
    calls: Vec<Call>,
    /// How many calls there had been when the last fault struck.
    calls_before: usize,
    victim: Option<Killer>,
}

impl Script {
    /// A script with these faults.
    #[must_use]
    pub fn new(planned: Vec<(Target, Fault)>) -> Self {
        let state =
            State { planned, struck: Vec::new(), calls: Vec::new(), calls_before: 0, victim: None };
        Self { state: Mutex::new(state), held: Semaphore::new(0), released: Semaphore::new(0) }
    }

    /// Every call so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The faults that have struck so far, and whom.
    #[must_use]
    pub fn struck(&self) -> Vec<(Fault, Call)> {
        self.state().struck.clone()
    }

    /// The faults that have not struck yet.
    #[must_use]
    pub fn left(&self) -> Vec<(Target, Fault)> {
        let state = self.state();
        state.planned[state.struck.len()..].to_vec()
    }

    /// Says which process a fault that kills is to kill from now on.
    pub fn aim(&self, victim: Killer) {
        self.state().victim = Some(victim);
    }

    /// Waits until a call is being held.
    pub async fn wait_for_hold(&self) {
        if let Ok(permit) = self.held.acquire().await {
            permit.forget();
        }
    }

    /// Lets the call that is being held go.
    pub fn let_go(&self) {
        self.released.add_permits(1);
    }

    /// Notes a call, and says what it is to suffer.
    pub(super) fn next(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        state.calls.push(call.clone());
        let (target, fault) = state.planned.get(state.struck.len())?.clone();
        let strikes = match target {
            Target::Nth(service, operation, n) => {
                let same = |call: &Call| call.service == service && call.operation == operation;
                same(&call) && state.calls.iter().filter(|call| same(call)).count() == n
            }
            Target::After(n) => state.calls.len() == state.calls_before + n,
            Target::Containing(text) => call.request.contains(&text),
        };
        strikes.then(|| {
            state.calls_before = state.calls.len();
            state.struck.push((fault, call));
            fault
        })
    }

    pub(super) async fn kill(&self) {
        let victim = self.state().victim.clone();
        if let Some(victim) = victim {
            victim.kill().await;
        }
    }

    pub(super) async fn hold(&self) {
        self.held.add_permits(1);
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.service, self.operation)
    }
}
