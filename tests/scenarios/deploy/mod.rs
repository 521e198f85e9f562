//! Scenarios of the template, the database role and the deployed stack.

mod database_role;
mod database_tls;
pub(crate) mod deployed_stack;
mod iam;
mod indexes;
mod invocation_errors;
mod observability;
mod permissions;
mod release;
mod rotation;
mod secrets;
mod stack_life;
mod template_rules;
