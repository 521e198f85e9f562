//! Scenarios of the template, the database role and the deployed stack.

mod alarms;
pub(crate) mod canary;
mod database_role;
mod database_tls;
pub(crate) mod deployed_stack;
mod fair_queue;
mod iam;
mod indexes;
mod invocation_errors;
mod observability;
mod operator_policy;
mod permissions;
mod release;
mod releases;
mod rotation;
pub(crate) mod secrets;
pub(crate) mod stack_life;
mod template_rules;
mod two_stacks;
