//! The adapter that leads the functions to the site's tables (`infra/sql/adapters/`).

use tokio_postgres::Client;

use super::{DatabaseError, column, limited};

/// The adapter for the tables of the specification. It has no views, and leaves no trace.
pub const SPECIFICATION: &str = "specification.sql";
/// The adapter for the tables of Makapix Club as of August 2026.
const MAKAPIX_2026: &str = "makapix-2026.sql";

/// The adapter in use, and the one that fits the site's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The adapter whose views are in the schema of the functions' role; `None`: no views.
    with_views: Option<String>,
    /// The adapter that the site's tables look like, among those of Makapix.
    fitting: Option<&'static str>,
}

/// The name that an adapter leaves in its schema, and what distinguishes the tables of Makapix. Every
/// role may read it.
const ADAPTER: &str = "
    SELECT substring(obj_description(to_regnamespace('makapix_bdr'), 'pg_namespace')
                     FROM '^adapter (\\S+) with ') AS with_views,
           EXISTS (SELECT FROM pg_attribute AS a
                    WHERE a.attrelid = to_regclass('public.posts')
                      AND a.attname = 'file_format' AND NOT a.attisdropped) AS has_file_format,
           to_regclass('public.post_files') IS NOT NULL AS has_post_files";

impl Adapter {
    /// Reads the adapter.
    ///
    /// # Errors
    /// When the database does not respond.
    pub async fn find(client: &Client) -> Result<Self, DatabaseError> {
        let rows = limited(client.query_typed(ADAPTER, &[])).await?;
        let Some(row) = rows.first() else { return Ok(Self { with_views: None, fitting: None }) };
        let fitting = match (column(row, "has_file_format")?, column(row, "has_post_files")?) {
            (false, true) => Some(MAKAPIX_2026),
            (true, false) => Some(SPECIFICATION),
            _ => None,
        };
        Ok(Self { with_views: column(row, "with_views")?, fitting })
    }

    /// Returns the name of the adapter in use. `None`: no adapter with views, so the functions read the
    /// tables as the specification has them.
    #[must_use]
    pub fn in_use(&self) -> Option<&str> {
        self.with_views.as_deref()
    }

    /// Returns what to do when the tables and the adapter in use do not fit, as the rest of a sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        // A site's own adapter is not one to replace by ours.
        let of_site =
            self.with_views.as_deref().filter(|name| ![SPECIFICATION, MAKAPIX_2026].contains(name));
        match of_site.or(self.fitting).or(self.with_views.as_deref()) {
            Some(adapter) => format!(
                "apply infra/sql/adapters/{adapter}, and if it refuses, change it for the site's tables"
            ),
            None => "write an adapter for the site's tables (infra/sql/adapters/photo-gallery.sql is an \
                     example)"
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Adapter, MAKAPIX_2026, SPECIFICATION};

    #[test]
    fn the_remedy_names_the_adapter_that_fits_the_tables() {
        for (with_views, fitting, named) in [
            (None, Some(MAKAPIX_2026), "adapters/makapix-2026.sql"),
            (Some(MAKAPIX_2026), Some(SPECIFICATION), "adapters/specification.sql"),
            (Some("ours.sql"), None, "adapters/ours.sql"),
            (Some("ours.sql"), Some(SPECIFICATION), "adapters/ours.sql"),
            (None, None, "write an adapter"),
        ] {
            let adapter = Adapter { with_views: with_views.map(str::to_owned), fitting };
            assert!(adapter.remedy().contains(named), "{}", adapter.remedy());
        }
    }
}
