//! The pages of the documentation that other modules check.

/// A page: its path from the root of the repository, and its text.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub(super) path: &'static str,
    pub(super) text: &'static str,
}

macro_rules! page {
    ($path:literal) => {
        Page { path: $path, text: include_str!(concat!("../../../", $path)) }
    };
}

pub(super) const README: Page = page!("README.md");
pub(super) const CONTRIBUTING: Page = page!("CONTRIBUTING.md");
pub(super) const API: Page = page!("docs/api.md");
pub(super) const CONFIGURATION: Page = page!("docs/configuration.md");
pub(super) const DEPLOY: Page = page!("docs/deploy.md");
pub(super) const MIGRATION: Page = page!("docs/migrating-from-celery.md");
pub(super) const OBSERVABILITY: Page = page!("docs/observability.md");
pub(super) const OPERATIONS: Page = page!("docs/operations.md");
pub(super) const PERFORMANCE: Page = page!("docs/performance.md");
pub(super) const SECURITY: Page = page!("SECURITY.md");
pub(super) const SQL: Page = page!("infra/sql/README.md");

/// The root of the repository.
pub(super) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
