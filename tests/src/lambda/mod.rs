//! Lambda on one machine: a function's binary as a child process, the local Runtime API that it
//! polls, and the queue whose messages it is given.

mod deployed;
mod event_source;
mod process;
mod queue;
mod runtime_api;

pub use deployed::Deployed;
pub use event_source::{Deliveries, EventSource};
pub use process::{Ending, Function, Invocation, Killer};
pub use queue::{Message, Queue};
