//! No fault loses a request or leaves it stuck. The release binary runs as a process with the
//! environment of the template. Its calls pass through proxies that inject one fault at a time, or a
//! burst of faults; or it is killed; or another worker processes the same request.

mod burst_tally;
mod bursts;
mod duplicates;
mod exports;
mod memory;
mod pairs;
mod single;
mod standstill;
mod tally;
mod trial;
