//! The database: its tables and columns, the privileges of the functions' role, missing public ids, and
//! stuck requests.

use anyhow::{Context as _, Result};
use shared::database::{Adapter, DatabaseError, SPECIFICATION, column, limited};
use shared::request::Filter;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config};

use super::clock;
use super::connections;
use super::diagnosis::Diagnosis;
use crate::operator::Operator;

const CHECK: &str = "database";
/// The role of the adapters (`infra/sql/adapters/`), and the schema of their views.
const ROLE: &str = "makapix_bdr";
/// Table, privilege and columns, as `infra/sql/adapters/specification.sql` grants them.
const REQUIRED: &[(&str, &str, &str)] = &[
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

/// The columns of a table or view that do not exist, and those for which the role lacks the privilege. The
/// search path resolves the table, as in the functions' statements.
const UNMET: &str = "
    SELECT required.name, a.attnum IS NULL AS missing
      FROM unnest($2::text[]) AS required (name)
      LEFT JOIN pg_attribute AS a
        ON a.attrelid = to_regclass($1) AND a.attname = required.name AND NOT a.attisdropped
     WHERE a.attnum IS NULL OR NOT has_column_privilege($3, a.attrelid, a.attnum, $4)";

/// Sets the search path to that of the role, in the order in which PostgreSQL applies settings.
const SEARCH_PATH: &str = "
    SELECT set_config('search_path', replace(coalesce(
           (SELECT substring(setting FROM '^search_path=(.*)$')
              FROM pg_db_role_setting AS s
             CROSS JOIN LATERAL unnest(s.setconfig) AS setting
             WHERE s.setrole IN (0, (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = $1))
               AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d
                                          WHERE d.datname = current_database()))
               AND setting LIKE 'search_path=%'
             ORDER BY s.setrole = 0, s.setdatabase = 0
             LIMIT 1), '\"$user\", public'), '\"$user\"', quote_ident($1)), false)";

/// The views of the adapter in use that the search path does not lead to: another relation comes first,
/// or the view is missing.
const UNREACHED: &str = "
    SELECT name
      FROM regexp_split_to_table(
           substring(obj_description(to_regnamespace('makapix_bdr'), 'pg_namespace')
                     FROM '^adapter \\S+ with (.*)$'), ', ') AS name
     WHERE to_regclass(name) IS DISTINCT FROM to_regclass('makapix_bdr.' || name)";

/// Whether any user or post has no public id. An index on `public_sqid` serves both conditions.
const WITHOUT_PUBLIC_ID: &str = "
    SELECT EXISTS (SELECT FROM users AS u WHERE u.public_sqid IS NULL OR u.public_sqid = '') AS users,
           EXISTS (SELECT FROM posts AS p WHERE p.public_sqid IS NULL OR p.public_sqid = '') AS posts";

pub(super) async fn check(operator: &Operator, diagnosis: &mut Diagnosis) {
    let client = async { anyhow::Ok(operator.database().await?.dedicated_connection().await?) };
    let client = match client.await {
        Ok(client) => client,
        Err(error) => {
            let advice = "Check that this machine can reach the database, and check DATABASE_URL.";
            return diagnosis.not_checked(CHECK, &error, advice);
        }
    };
    diagnosis.ok(CHECK, "is reachable from this machine");
    clock::compare(diagnosis, "database clock", time(&client).await);
    let contract = async |diagnosis: &mut Diagnosis| {
        let role = role(operator, &client).await?;
        connections::check(operator, &client, diagnosis, &role).await;
        contract(&client, diagnosis, &role).await
    };
    if let Err(error) = contract(diagnosis).await {
        diagnosis.not_checked(CHECK, &error, "Run `bdrctl doctor` again.");
    }
    if let Err(error) = public_ids(operator, &client, diagnosis).await {
        let advice = "Connect as a role with the privileges of the functions' role.";
        diagnosis.not_checked("public ids", &error, advice);
    }
    if let Err(error) = requests(operator, diagnosis).await {
        let advice = "Connect as a role with the privileges of the functions' role.";
        diagnosis.not_checked("requests", &error, advice);
    }
}

async fn time(client: &Client) -> Result<time::OffsetDateTime> {
    let rows = limited(client.query_typed("SELECT clock_timestamp() AS now", &[])).await?;
    Ok(column(rows.first().context("the database returned no time")?, "now")?)
}

/// Returns the role of the functions: the user of their own connection or of their `DATABASE_URL`, or
/// else that of the adapters.
async fn role(operator: &Operator, client: &Client) -> Result<String> {
    if operator.own_database().is_none() {
        let rows = limited(client.query_typed("SELECT current_user::text AS role", &[])).await?;
        return Ok(column(rows.first().context("the database returned no role")?, "role")?);
    }
    let environment = operator.function_environment().await.ok();
    let url = environment.and_then(|environment| environment.optional("DATABASE_URL"));
    let config = url.and_then(|url| url.split('?').next()?.parse::<Config>().ok());
    let user = config.as_ref().and_then(Config::get_user).map(str::to_owned);
    Ok(user.unwrap_or_else(|| ROLE.to_owned()))
}

async fn contract(client: &Client, diagnosis: &mut Diagnosis, role: &str) -> Result<()> {
    let role_exists = "SELECT FROM pg_roles WHERE rolname = $1";
    let rows = limited(client.query_typed(role_exists, &[(&role, Type::TEXT)])).await?;
    if rows.is_empty() {
        let adapter = Adapter::find(client).await?;
        let found = format!("role {role} of the functions does not exist");
        diagnosis.error(CHECK, found, &advice(&adapter));
        return Ok(());
    }
    look_as(client, role).await?;
    let adapter = Adapter::find(client).await?;
    let advice = advice(&adapter);
    let (mut missing, mut denied, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    for &(table, privilege, columns) in REQUIRED {
        let names: Vec<&str> = columns.split(' ').collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
            (&table, Type::TEXT),
            (&names, Type::TEXT_ARRAY),
            (&role, Type::TEXT),
            (&privilege, Type::TEXT),
        ];
        let unmet = limited(client.query_typed(UNMET, &parameters)).await?;
        for row in &unmet {
            let name: String = column(row, "name")?;
            if column(row, "missing")? {
                missing.push(format!("{table}.{name}"));
            } else {
                denied.push(format!("{privilege} {table}.{name}"));
            }
        }
        if unmet.is_empty() && privilege == "SELECT" {
            broken.extend(misfit(client, table, &names).await?);
        }
    }
    missing.dedup();
    let fits = missing.is_empty() && denied.is_empty() && broken.is_empty();
    if missing.is_empty() {
        diagnosis.ok(CHECK, "has the required tables and columns");
    } else {
        diagnosis.error(CHECK, format!("lacks {}", missing.join(", ")), &advice);
    }
    if denied.is_empty() {
        diagnosis.ok(CHECK, format!("role {role} has the required privileges"));
    } else {
        diagnosis.error(CHECK, format!("role {role} lacks {}", denied.join(", ")), &advice);
    }
    for found in broken {
        diagnosis.error(CHECK, found, &advice);
    }
    match adapter.in_use().or(fits.then_some(SPECIFICATION)) {
        Some(in_use) => views(client, diagnosis, in_use, role).await,
        None => Ok(()),
    }
}

fn advice(adapter: &Adapter) -> String {
    format!("As the owner of the tables, {}.", adapter.remedy())
}

/// Lets the connection resolve names as the functions' role does. Becomes the role if this is allowed,
/// so that its privileges apply too.
async fn look_as(client: &Client, role: &str) -> Result<()> {
    let set = "SELECT set_config('role', $1, false)";
    // Without the right to become the role, only the names are resolved as the role does.
    let _ = limited(client.query_typed(set, &[(&role, Type::TEXT)])).await;
    limited(client.query_typed(SEARCH_PATH, &[(&role, Type::TEXT)])).await?;
    Ok(())
}

/// Plans a query of these columns, as the functions do. Returns the server's error, such as that of a
/// view whose table has lost a column.
async fn misfit(client: &Client, table: &str, columns: &[&str]) -> Result<Option<String>> {
    let columns: Vec<_> = columns.iter().map(|name| format!("t.{name}")).collect();
    let sql = format!("SELECT {} FROM {table} AS t LIMIT 0", columns.join(", "));
    match limited(client.query_typed(&sql, &[])).await {
        Ok(_) => Ok(None),
        Err(DatabaseError::Statement(error)) if error.as_db_error().is_some() => {
            let message = error.as_db_error().map(DbError::message).unwrap_or_default();
            Ok(Some(format!("{table} cannot be read: {message}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Checks that the role's search path leads to the views of the adapter in use.
async fn views(client: &Client, diagnosis: &mut Diagnosis, in_use: &str, role: &str) -> Result<()> {
    let rows = limited(client.query_typed(UNREACHED, &[])).await?;
    let unreached = rows.iter().map(|row| column(row, "name"));
    let unreached = unreached.collect::<Result<Vec<String>, DatabaseError>>()?;
    if unreached.is_empty() {
        diagnosis.ok(CHECK, format!("adapter {in_use} is in use"));
    } else {
        let found = format!("role {role} does not read {} of {in_use}", unreached.join(", "));
        let advice = format!(
            "Apply infra/sql/adapters/{in_use} again. If that changes nothing, run `ALTER ROLE {role} \
             SET search_path = {ROLE}, public`."
        );
        diagnosis.error(CHECK, found, &advice);
    }
    Ok(())
}

/// Checks that the functions have a public id for every user and every post.
async fn public_ids(operator: &Operator, client: &Client, diagnosis: &mut Diagnosis) -> Result<()> {
    const CHECK: &str = "public ids";
    if operator.function_environment().await?.optional("SQIDS_ALPHABET").is_some() {
        diagnosis.ok(CHECK, "SQIDS_ALPHABET is set");
        return Ok(());
    }
    let rows = limited(client.query_typed(WITHOUT_PUBLIC_ID, &[])).await?;
    let row = rows.first().context("the database returned no row")?;
    let found = match (column(row, "users")?, column(row, "posts")?) {
        (false, false) => {
            diagnosis.ok(CHECK, "every user and every post has one");
            return Ok(());
        }
        (true, false) => {
            "users have no public_sqid, and SQIDS_ALPHABET is not set: their requests fail"
        }
        (false, true) => {
            "posts have no public_sqid, and SQIDS_ALPHABET is not set: these artworks are missing"
        }
        (true, true) => {
            "users and posts have no public_sqid, and SQIDS_ALPHABET is not set: their requests fail, \
             and these artworks are missing"
        }
    };
    let advice = "Set the parameter SqidsAlphabet to the site's alphabet, or fill public_sqid.";
    diagnosis.warning(CHECK, found, advice);
    Ok(())
}

/// Checks for requests that the hourly cleanup should have republished or marked failed.
async fn requests(operator: &Operator, diagnosis: &mut Diagnosis) -> Result<()> {
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
        diagnosis.ok(CHECK, "no request is stuck");
    } else {
        let advice = "Check the schedules of the cleanup and the event source of the queue. To list \
                      the requests, run `bdrctl status --older-than 3h --state pending --state \
                      processing`.";
        diagnosis.warning(CHECK, stuck.join(", "), advice);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::REQUIRED;

    /// Returns the column privileges that `infra/sql/adapters/specification.sql` grants, in the form of [`REQUIRED`].
    fn granted() -> BTreeSet<(String, String, String)> {
        let lines = include_str!("../../../sql/adapters/specification.sql").lines();
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
                    (table.trim_start_matches("public.").to_owned(), privilege, columns.join(" "))
                })
            })
            .collect()
    }

    #[test]
    fn required_privileges_are_those_that_the_specification_needs() {
        let required = REQUIRED.iter().map(|(table, privilege, columns)| {
            ((*table).to_owned(), (*privilege).to_owned(), (*columns).to_owned())
        });
        assert_eq!(required.collect::<BTreeSet<_>>(), granted());
    }
}
