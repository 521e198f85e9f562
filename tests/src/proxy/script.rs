//! The faults that are planned, and the calls so far.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::call::{Call, Service};
use crate::lambda::Killer;

/// How late a delayed call reaches its service.
const DELAY: Duration = Duration::from_millis(1500);

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The connection closes, and the service receives nothing.
    LostRequest,
    /// The service carries the call out, and the connection closes without an answer.
    LostAnswer,
    /// The service carries the call out, and its answer breaks off halfway.
    TruncatedAnswer,
    /// The service receives the body with one bit flipped.
    FlippedBit,
    /// The call reaches the service late.
    Delay,
    /// The answer is an internal error (500); from PostgreSQL, that it is shutting down (57P01).
    Error,
    /// The answer is the service's own error for too many requests.
    Throttling,
    /// The answer is that access is denied (403).
    Denial,
    /// The worker gets `SIGKILL`, and the service receives nothing.
    KillBefore,
    /// The worker gets `SIGKILL` after the service has carried the call out.
    KillAfter,
    /// The call waits for [`Script::let_go`] before it reaches the service.
    Hold,
    /// The call reaches the service when the burst ends, even if the client has given it up by then.
    Standstill,
}

/// The call that a fault strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The n-th call of an operation, counted from 1.
    Nth(Service, String, usize),
    /// The n-th call after the previous fault of the script, counted from 1.
    After(usize),
    /// The next call whose request contains this text.
    Containing(String),
}

/// A time in which many calls have faults.
pub struct Burst {
    /// The call with which it begins.
    pub begin: Target,
    /// Its duration.
    pub duration: Duration,
    /// Chooses the fault of a call within it, if the call has one.
    pub choose: Choose,
}

/// Returns the fault of a call, if the call has one.
pub type Choose = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// The faults for one worker: single ones, which strike in this order, or a burst. The default has none.
#[derive(Default)]
pub struct Script {
    state: Mutex<State>,
    held: Notify,
    released: Notify,
}

#[derive(Default)]
struct State {
    planned: Vec<(Target, Fault)>,
    burst: Option<Burst>,
    burst_ends: Option<Instant>,
    struck: Vec<(Fault, Call)>,
    calls: Vec<Call>,
    /// The number of calls when the last fault struck.
    calls_before: usize,
    victim: Option<Killer>,
}

/// How much of its answer a client receives. After less than the whole the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Nothing,
    Half,
    Whole,
}

impl Script {
    /// Creates a script with these faults.
    #[must_use]
    pub fn new(planned: Vec<(Target, Fault)>) -> Self {
        let state = Mutex::new(State { planned, ..State::default() });
        Self { state, ..Self::default() }
    }

    /// Creates a script with a burst.
    #[must_use]
    pub fn with_burst(burst: Burst) -> Self {
        let state = Mutex::new(State { burst: Some(burst), ..State::default() });
        Self { state, ..Self::default() }
    }

    /// Returns every call so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Returns the faults that have struck so far, each with its call.
    #[must_use]
    pub fn struck(&self) -> Vec<(Fault, Call)> {
        self.state().struck.clone()
    }

    /// Sets the process that [`Fault::KillBefore`] and [`Fault::KillAfter`] kill.
    pub fn aim(&self, victim: Killer) {
        self.state().victim = Some(victim);
    }

    /// Waits until a call is held.
    pub async fn wait_for_hold(&self) {
        self.held.notified().await;
    }

    /// Releases the call that is held.
    pub fn let_go(&self) {
        self.released.notify_one();
    }

    /// Records a call, and returns the fault that strikes it.
    pub(super) fn next(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        state.calls.push(call.clone());
        let fault = state.planned_fault(&call).or_else(|| state.burst_fault(&call))?;
        state.calls_before = state.calls.len();
        state.struck.push((fault, call));
        Some(fault)
    }

    /// Does what `fault` demands before the call reaches its service; returns whether it does.
    pub(super) async fn before(&self, fault: Option<Fault>) -> bool {
        match fault {
            Some(Fault::KillBefore) => self.kill().await,
            Some(Fault::Delay) => tokio::time::sleep(DELAY).await,
            Some(Fault::Hold) => {
                self.held.notify_one();
                self.released.notified().await;
            }
            Some(Fault::Standstill) => {
                let burst_ends = self.state().burst_ends;
                tokio::time::sleep_until(burst_ends.unwrap_or_else(Instant::now).into()).await;
            }
            _ => {}
        }
        !matches!(fault, Some(Fault::LostRequest | Fault::KillBefore))
    }

    /// Does what `fault` demands after the service has answered; returns how much of the answer the
    /// client receives.
    pub(super) async fn after(&self, fault: Option<Fault>) -> Extent {
        match fault {
            Some(Fault::LostAnswer) => Extent::Nothing,
            Some(Fault::TruncatedAnswer) => Extent::Half,
            Some(Fault::KillAfter) => {
                self.kill().await;
                Extent::Nothing
            }
            _ => Extent::Whole,
        }
    }

    async fn kill(&self) {
        let victim = self.state().victim.clone();
        if let Some(victim) = victim {
            victim.kill().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn planned_fault(&self, call: &Call) -> Option<Fault> {
        let (target, fault) = self.planned.get(self.struck.len())?;
        self.is_hit(target, call).then_some(*fault)
    }

    fn burst_fault(&mut self, call: &Call) -> Option<Fault> {
        let burst = self.burst.as_ref()?;
        if self.burst_ends.is_none() && self.is_hit(&burst.begin, call) {
            self.burst_ends = Some(Instant::now() + burst.duration);
        }
        let is_within = self.burst_ends.is_some_and(|end| Instant::now() < end);
        if is_within { (self.burst.as_mut()?.choose)(call) } else { None }
    }

    /// Returns whether the call, which is the last so far, is the target.
    fn is_hit(&self, target: &Target, call: &Call) -> bool {
        match target {
            Target::Nth(service, operation, n) => {
                let same = |call: &Call| call.service == *service && call.operation == *operation;
                same(call) && self.calls.iter().filter(|call| same(call)).count() == *n
            }
            Target::After(n) => self.calls.len() == self.calls_before + n,
            Target::Containing(text) => call.request.contains(text),
        }
    }
}
