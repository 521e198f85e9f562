//! The database: that it is there with the columns of the contract, that the functions may do with
//! them what they do, and that no request lies about.

use anyhow::{Context as _, Result};
use shared::database::{column, limited};
use shared::request::Filter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config};

use super::clock;
use super::finding::Report;
use crate::operator::Operator;

const CHECK: &str = "database";
/// The role of `infra/sql/role.sql`.
const ROLE: &str = "makapix_bdr";
/// Table, privilege, columns: as `infra/sql/role.sql` grants them.
const NEEDED: &[(&str, &str, &str)] = &[
    (
        "batch_download_requests",
        "SELECT",
        "id user_id post_ids include_comments include_reactions send_email status file_path \
         file_size_bytes created_at started_at completed_at expires_at",
    ),
    (
        "batch_download_requests",
        "UPDATE",
        "status error_message file_path file_size_bytes started_at completed_at expires_at",
    ),
    ("users", "SELECT", "id handle email public_sqid"),
    (
        "posts",
        "SELECT",
        "id public_sqid title description hashtags art_url file_format width height frame_count \
         created_at",
    ),
    ("comments", "SELECT", "id post_id author_id body hidden_by_mod deleted_by_owner created_at"),
    ("reactions", "SELECT", "post_id emoji"),
];

/// Of a table's columns, those that are not there, and those that the role may not use so. The table
/// is the one that a statement finds by the search path.
const LACKING: &str = "
    SELECT wanted.name, a.attnum IS NULL AS missing
      FROM unnest($2::text[]) AS wanted (name)
      LEFT JOIN pg_attribute AS a
        ON a.attrelid = to_regclass($1) AND a.attname = wanted.name AND NOT a.attisdropped
     WHERE a.attnum IS NULL OR NOT has_column_privilege($3, a.attrelid, a.attnum, $4)";

pub(super) async fn check(operator: &Operator, report: &mut Report) {
    let client = async { anyhow::Ok(operator.database().await?.dedicated_connection().await?) };
    let client = match client.await {
        Ok(client) => client,
        Err(error) => {
            let advice = "Is it reachable from here, and DATABASE_URL right?";
            return report.not_checked(CHECK, &error, advice);
        }
    };
    report.ok(CHECK, "it is reachable from here");
    clock::compare(report, "clock of the database", time(&client).await);
    let role = role(operator).await;
    if let Err(error) = contract(&client, report, &role).await {
        report.not_checked(CHECK, &error, "");
    }
    if let Err(error) = requests(operator, report).await {
        report.not_checked("requests", &error, "Needs what the functions' role may read.");
    }
}

async fn time(client: &Client) -> Result<time::OffsetDateTime> {
    let rows = limited(client.query_typed("SELECT clock_timestamp() AS now", &[])).await?;
    Ok(column(rows.first().context("it does not tell the time")?, "now")?)
}

/// The role by which the functions log in, as far as it can be seen from here.
async fn role(operator: &Operator) -> String {
    let environment = operator.function_environment().await.ok();
    let url = environment.and_then(|environment| environment.optional("DATABASE_URL"));
    let config = url.and_then(|url| url.split('?').next()?.parse::<Config>().ok());
    let user = config.as_ref().and_then(Config::get_user).map(str::to_owned);
    user.unwrap_or_else(|| ROLE.to_owned())
}

async fn contract(client: &Client, report: &mut Report, role: &str) -> Result<()> {
    const RUN: &str = "Run infra/sql/role.sql as the owner of the tables.";
    let known = "SELECT FROM pg_roles WHERE rolname = $1";
    let known = limited(client.query_typed(known, &[(&role, Type::TEXT)])).await?;
    if known.is_empty() {
        report.error(CHECK, format!("there is no role {role} for the functions"), RUN);
        return Ok(());
    }
    let (mut missing, mut denied) = (Vec::new(), Vec::new());
    for &(table, privilege, columns) in NEEDED {
        let columns: Vec<&str> = columns.split(' ').collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&table, Type::TEXT),
            (&columns, Type::TEXT_ARRAY),
            (&role, Type::TEXT),
            (&privilege, Type::TEXT),
        ];
        for row in limited(client.query_typed(LACKING, &parameters)).await? {
            let name: String = column(&row, "name")?;
            if column(&row, "missing")? {
                missing.push(format!("{table}.{name}"));
            } else {
                denied.push(format!("{privilege} {table}.{name}"));
            }
        }
    }
    missing.dedup();
    if missing.is_empty() {
        report.ok(CHECK, "it has the tables and columns of the contract");
    } else {
        let advice = "The functions rely on them (README, infra/sql/schema.sql).";
        report.error(CHECK, format!("it lacks {}", missing.join(", ")), advice);
    }
    if denied.is_empty() {
        report.ok(CHECK, format!("{role} may do what the functions do"));
    } else {
        report.error(CHECK, format!("{role} lacks {}", denied.join(", ")), RUN);
    }
    Ok(())
}

/// Requests that the hourly cleanup should have seen to.
async fn requests(operator: &Operator, report: &mut Report) -> Result<()> {
    const CHECK: &str = "requests";
    const HOUR: f64 = 3600.0;
    let mut stuck = Vec::new();
    for (state, hours) in [("pending", 3.0), ("processing", 8.0)] {
        let filter = Filter {
            states: vec![state.to_owned()],
            age_seconds: hours * HOUR,
            limit: 1000,
            ..Filter::default()
        };
        let found = operator.requests().await?.overview(&filter).await?.len();
        if found > 0 {
            stuck.push(format!("{found} {state} for over {hours} h"));
        }
    }
    if stuck.is_empty() {
        report.ok(CHECK, "none is stuck");
    } else {
        let advice = "The hourly cleanup does not run, or the queue's messages are not taken: see \
                      to the schedules and the event source. To list them: bdrctl status \
                      --older-than 3h --state pending --state processing";
        report.warning(CHECK, stuck.join(", "), advice);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::NEEDED;

    /// The privileges on columns that `infra/sql/role.sql` grants, as the table has them.
    fn granted() -> BTreeSet<(String, String, String)> {
        let lines = include_str!("../../../sql/role.sql").lines();
        let sql: Vec<_> = lines.filter(|line| !line.trim_start().starts_with("--")).collect();
        let sql = sql.join(" ");
        let grants = sql.split(';').filter_map(|statement| statement.trim().strip_prefix("GRANT "));
        let of_columns = grants.filter_map(|grant| {
            let (privileges, rest) = grant.rsplit_once(" ON ")?;
            Some((privileges, rest.split_once(" TO ")?.0)).filter(|it| it.0.contains('('))
        });
        of_columns
            .flat_map(|(privileges, table)| {
                let parts = privileges.split(')').filter_map(|part| part.split_once('('));
                parts.map(move |(privilege, columns)| {
                    let columns: Vec<_> = columns.split(',').map(str::trim).collect();
                    let privilege = privilege.trim_matches([',', ' ']).to_owned();
                    (table.to_owned(), privilege, columns.join(" "))
                })
            })
            .collect()
    }

    #[test]
    fn what_is_looked_for_is_what_the_role_is_granted() {
        let needed = NEEDED.iter().map(|(table, privilege, columns)| {
            ((*table).to_owned(), (*privilege).to_owned(), (*columns).to_owned())
        });
        assert_eq!(needed.collect::<BTreeSet<_>>(), granted());
    }
}
