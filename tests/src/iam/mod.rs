//! Permissions: those that calls need ([`needs`]), and those that a role's policies grant
//! ([`Grant`]).

mod need;
mod policy;

pub use need::{Need, needs, needs_of_key};
pub use policy::{Grant, grants};
