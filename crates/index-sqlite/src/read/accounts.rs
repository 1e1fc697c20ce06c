//! Accounts.

use atcr_atproto::syntax::{Did, Handle};
use atcr_index::IndexError;
use atcr_index::stored;
use atcr_index::view::{AccountView, OwnerView};
use sqlx::{FromRow, SqliteConnection};

use crate::failed;

#[derive(FromRow)]
struct Row {
    did: String,
    handle: String,
    pds: String,
    status: i64,
    taken_down: bool,
    rev: String,
    coverage: i64,
    repositories: i64,
    stars_given: i64,
    default_hold: Option<String>,
}

const SELECT: &str = "SELECT a.did, a.handle, a.pds, a.status, a.taken_down, a.rev, a.coverage, a.repositories, \
     (SELECT count(*) FROM star s WHERE s.account = a.id) AS stars_given, \
     (SELECT p.default_hold FROM profile p WHERE p.account = a.id AND p.rkey = 'self') AS default_hold \
     FROM account a WHERE ";

pub(super) async fn by_did(
    connection: &mut SqliteConnection,
    did: &Did,
) -> Result<Option<AccountView>, IndexError> {
    find(connection, "a.did = ?", did.as_str()).await
}

pub(super) async fn by_handle(
    connection: &mut SqliteConnection,
    handle: &Handle,
) -> Result<Option<AccountView>, IndexError> {
    find(
        connection,
        "a.handle = ? AND a.handle <> ''",
        &handle.as_str().to_lowercase(),
    )
    .await
}

async fn find(
    connection: &mut SqliteConnection,
    condition: &str,
    value: &str,
) -> Result<Option<AccountView>, IndexError> {
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{SELECT}{condition}")))
        .bind(value)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.map(view).transpose()
}

fn view(row: Row) -> Result<AccountView, IndexError> {
    Ok(AccountView {
        owner: owner(&row.did, &row.handle)?,
        pds: Some(row.pds).filter(|pds| !pds.is_empty()),
        status: stored::status(row.status),
        is_taken_down: row.taken_down,
        rev: row.rev.parse().ok(),
        coverage: stored::coverage(row.coverage),
        repositories: stored::count(row.repositories),
        stars_given: stored::count(row.stars_given),
        default_hold: stored::some_did(row.default_hold.as_deref().unwrap_or_default())?,
    })
}

pub(super) fn owner(did: &str, handle: &str) -> Result<OwnerView, IndexError> {
    Ok(OwnerView {
        did: stored::did(did)?,
        handle: stored::some_handle(handle)?,
    })
}

pub(super) async fn former_owner(
    connection: &mut SqliteConnection,
    handle: &Handle,
) -> Result<Option<Did>, IndexError> {
    let did: Option<String> = sqlx::query_scalar(
        "SELECT h.did FROM handle_past h JOIN account a ON a.did = h.did WHERE h.handle = ? AND a.handle <> h.handle",
    )
    .bind(handle.as_str().to_lowercase())
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    did.map(|did| stored::did(&did)).transpose()
}

pub(super) async fn is_taken_down(
    connection: &mut SqliteConnection,
    did: &Did,
    repository: &str,
) -> Result<bool, IndexError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM takedown WHERE did = ? AND repository IN ('', ?) AND applies = 1)",
    )
    .bind(did.as_str())
    .bind(repository)
    .fetch_one(connection)
    .await
    .map_err(failed)
}
