//! The site's tables: the same functions on each schema that has an adapter in `infra/sql/adapters/`.

mod connections;
mod errors;
mod life;
mod migrations;
mod refusal;
pub(crate) mod site;
