//! Scenarios of the template, the database role and the deployed stack.

mod alarms;
mod database_role;
mod database_tls;
pub(crate) mod deployed_stack;
mod fair_queue;
mod iam;
mod indexes;
mod invocation_errors;
mod observability;
mod permissions;
mod release;
mod rotation;
pub(crate) mod secrets;
mod stack_life;
mod template_rules;
