//! Lambda on this machine: a function's binary as a child process, the Runtime API that it polls, and
//! an event source that delivers a queue's messages to it.

mod deployed;
mod event_source;
mod process;
mod runtime_api;
mod test_queue;

pub use deployed::Deployed;
pub use event_source::{Deliveries, EventSource};
pub use process::{Ending, Function, Invocation, Killer};
pub use test_queue::{InFlight, TestQueue};
