//! Nothing is lost and nothing is stuck, whatever fails: the release binary, as a process with the
//! environment that the template gives it, works through proxies that fail one call at a time, or
//! is killed, or meets another worker at the same request.

mod duplicates;
mod memory;
mod pairs;
mod single;
mod tally;
mod trial;
