//! Stars.

use atcr_atproto::syntax::{Did, RecordKey};
use atcr_index::IndexError;
use atcr_index::page::{Page, PageRequest, Position};
use atcr_index::stored;
use atcr_index::view::{RepositoryCard, StarView};
use sqlx::{FromRow, SqliteConnection};

use super::accounts::owner;
use super::list::{Order, Parameter, fetch};
use super::repositories::{CARD, CardRow, cards};
use crate::failed;

/// Star records of one account for one repository that are looked up.
const MAX_RECORDS: i64 = 100;

#[derive(FromRow)]
struct StarRow {
    starrer: i64,
    did: String,
    handle: String,
    given_at: i64,
}

pub(super) async fn of_repository(
    connection: &mut SqliteConnection,
    did: &Did,
    repository: &str,
    page: &PageRequest,
) -> Result<Page<StarView>, IndexError> {
    // Of several records of one account the first counts.
    let select = "SELECT s.account AS starrer, a.did, a.handle, s.given_at FROM star s INDEXED BY star_of_subject_by_time \
         CROSS JOIN account a ON a.id = s.account \
         WHERE s.owner = ?1 AND s.repository = ?2 AND a.status = 0 AND a.taken_down = 0 \
           AND NOT EXISTS (SELECT 1 FROM star o INDEXED BY star_by_subject WHERE o.owner = s.owner AND o.repository = s.repository \
                           AND o.account = s.account AND (o.given_at, o.rkey) < (s.given_at, s.rkey)) \
           AND EXISTS (SELECT 1 FROM account w JOIN repository r ON r.account = w.id AND r.name = ?2 \
                       WHERE w.did = ?1 AND r.listed = 1)";
    let parameters = vec![
        Parameter::Text(did.to_string()),
        Parameter::Text(repository.to_owned()),
    ];
    let order = Order::newest(&["s.given_at", "s.account"]);
    let found = fetch(connection, select, &order, page, parameters).await?;
    let found = Page::of(found, page, |row: &StarRow| {
        Position::new(row.given_at, row.starrer)
    });
    let items = found
        .items
        .into_iter()
        .map(|row| {
            Ok(StarView {
                starrer: owner(&row.did, &row.handle)?,
                at: stored::instant(row.given_at),
            })
        })
        .collect::<Result<_, IndexError>>()?;
    Ok(Page {
        items,
        newer: found.newer,
        older: found.older,
    })
}

#[derive(FromRow)]
struct StarredRow {
    star_at: i64,
    star_rkey: String,
    #[sqlx(flatten)]
    card: CardRow,
}

pub(super) async fn starred_by(
    connection: &mut SqliteConnection,
    did: &Did,
    page: &PageRequest,
) -> Result<Page<RepositoryCard>, IndexError> {
    let select = format!(
        "SELECT s.given_at AS star_at, s.rkey AS star_rkey, {CARD} FROM account w \
         CROSS JOIN star s INDEXED BY star_by_time ON s.account = w.id \
         CROSS JOIN account a ON a.did = s.owner CROSS JOIN repository r ON r.account = a.id AND r.name = s.repository \
         WHERE w.did = ?1 AND w.status = 0 AND w.taken_down = 0 AND r.listed = 1 \
           AND NOT EXISTS (SELECT 1 FROM star o INDEXED BY star_by_subject WHERE o.owner = s.owner AND o.repository = s.repository \
                           AND o.account = s.account AND (o.given_at, o.rkey) < (s.given_at, s.rkey))"
    );
    let order = Order {
        columns: &["s.given_at", "s.rkey"],
        descending: true,
        values: |position| {
            vec![
                Parameter::Integer(position.rank),
                Parameter::Text(position.key.clone()),
            ]
        },
    };
    let found = fetch(
        connection,
        &select,
        &order,
        page,
        vec![Parameter::Text(did.to_string())],
    )
    .await?;
    let found = Page::of(found, page, |row: &StarredRow| {
        Position::new(row.star_at, &row.star_rkey)
    });
    cards(found.map(|row| row.card))
}

pub(super) async fn given(
    connection: &mut SqliteConnection,
    starrer: &Did,
    did: &Did,
    repository: &str,
) -> Result<Vec<RecordKey>, IndexError> {
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT s.rkey FROM account a CROSS JOIN star s INDEXED BY star_by_subject \
           ON s.owner = ? AND s.repository = ? AND s.account = a.id WHERE a.did = ? LIMIT ?",
    )
    .bind(did.as_str())
    .bind(repository)
    .bind(starrer.as_str())
    .bind(MAX_RECORDS)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    keys.into_iter()
        .map(|key| key.parse().map_err(|_| IndexError::Corrupt("a record key")))
        .collect()
}
