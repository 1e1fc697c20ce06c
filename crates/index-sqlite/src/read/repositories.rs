//! Repositories: cards in lists, and one repository as its page shows it.

use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::page::{MAX_PAGE, Page, PageRequest, Position};
use atcr_index::stored;
use atcr_index::version_order::is_release;
use atcr_index::view::{Picture, PullDay, RepositoryCard, RepositoryId, RepositoryView};
use chrono::{Days, NaiveDate};
use sqlx::{FromRow, SqliteConnection};

use super::accounts::owner;
use super::list::{Order, Parameter, fetch};
use crate::failed;

/// Rows of one list of days.
const MAX_DAYS: i64 = 400;

/// Tags that are looked through for the highest release.
const RELEASES_TRIED: i64 = 50;

/// The columns of a [`CardRow`], of `repository r` and `account a`.
pub(crate) const CARD: &str = "r.id, r.name, r.title, r.summary, r.licence, r.picture, r.picture_type, r.kind, r.newest_tag, \
     r.platforms, r.pushed_at, r.tags, r.stars, r.pulls, a.did, a.handle";

#[derive(FromRow)]
pub(crate) struct CardRow {
    pub(crate) id: i64,
    name: String,
    title: String,
    summary: String,
    licence: String,
    picture: Vec<u8>,
    picture_type: String,
    kind: i64,
    newest_tag: String,
    platforms: String,
    pushed_at: i64,
    tags: i64,
    stars: i64,
    pulls: i64,
    did: String,
    handle: String,
}

impl CardRow {
    pub(crate) fn view(self) -> Result<RepositoryCard, IndexError> {
        let picture = stored::some_cid(&self.picture)?.map(|cid| Picture {
            cid,
            media_type: self.picture_type,
        });
        Ok(RepositoryCard {
            id: RepositoryId(self.id),
            owner: owner(&self.did, &self.handle)?,
            name: self.name,
            title: self.title,
            summary: self.summary,
            licence: self.licence,
            picture,
            kind: (self.kind >= 0).then(|| stored::kind(self.kind)).transpose()?,
            newest_tag: Some(self.newest_tag).filter(|tag| !tag.is_empty()),
            platforms: stored::strings(&self.platforms)?,
            pushed_at: stored::instant(self.pushed_at),
            tags: stored::count(self.tags),
            stars: stored::count(self.stars),
            pulls: stored::count(self.pulls),
        })
    }
}

pub(super) fn cards(page: Page<CardRow>) -> Result<Page<RepositoryCard>, IndexError> {
    Ok(Page {
        items: page
            .items
            .into_iter()
            .map(CardRow::view)
            .collect::<Result<_, _>>()?,
        newer: page.newer,
        older: page.older,
    })
}

pub(super) async fn recently_pushed(
    connection: &mut SqliteConnection,
    page: &PageRequest,
) -> Result<Page<RepositoryCard>, IndexError> {
    let select = format!(
        "SELECT {CARD} FROM repository r CROSS JOIN account a ON a.id = r.account WHERE r.listed = 1"
    );
    let rows = fetch(
        connection,
        &select,
        &Order::newest(&["r.pushed_at", "r.id"]),
        page,
        Vec::new(),
    )
    .await?;
    cards(Page::of(rows, page, |row: &CardRow| {
        Position::new(row.pushed_at, row.id)
    }))
}

pub(super) async fn most_starred(
    connection: &mut SqliteConnection,
    page: &PageRequest,
) -> Result<Page<RepositoryCard>, IndexError> {
    let select = format!(
        "SELECT {CARD} FROM repository r CROSS JOIN account a ON a.id = r.account WHERE r.listed = 1 AND r.stars > 0"
    );
    let rows = fetch(
        connection,
        &select,
        &Order::newest(&["r.stars", "r.id"]),
        page,
        Vec::new(),
    )
    .await?;
    cards(Page::of(rows, page, |row: &CardRow| {
        Position::new(row.stars, row.id)
    }))
}

pub(super) async fn of_account(
    connection: &mut SqliteConnection,
    did: &Did,
    page: &PageRequest,
) -> Result<Page<RepositoryCard>, IndexError> {
    let select = format!(
        "SELECT {CARD} FROM account a CROSS JOIN repository r ON r.account = a.id WHERE a.did = ?1 AND r.listed = 1"
    );
    let parameters = vec![Parameter::Text(did.to_string())];
    let rows = fetch(
        connection,
        &select,
        &Order::newest(&["r.pushed_at", "r.id"]),
        page,
        parameters,
    )
    .await?;
    cards(Page::of(rows, page, |row: &CardRow| {
        Position::new(row.pushed_at, row.id)
    }))
}

pub(super) async fn all(
    connection: &mut SqliteConnection,
    after: RepositoryId,
    limit: u32,
) -> Result<Vec<RepositoryCard>, IndexError> {
    let statement = format!(
        "SELECT {CARD} FROM repository r CROSS JOIN account a ON a.id = r.account WHERE r.id > ? AND r.listed = 1 \
         ORDER BY r.id LIMIT ?"
    );
    let rows: Vec<CardRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(after.0)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.into_iter().map(CardRow::view).collect()
}

pub(super) async fn named(
    connection: &mut SqliteConnection,
    name: &str,
    limit: u32,
) -> Result<Vec<RepositoryCard>, IndexError> {
    // The most popular of those that are read; of a name that thousands have, not of all.
    let statement = format!(
        "SELECT {CARD} FROM (SELECT id FROM repository WHERE name = ? AND listed = 1 LIMIT 1000) found \
         CROSS JOIN repository r ON r.id = found.id CROSS JOIN account a ON a.id = r.account \
         ORDER BY r.pulls DESC, r.stars DESC, r.id LIMIT ?"
    );
    let rows: Vec<CardRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(name)
        .bind(limit.min(MAX_PAGE))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.into_iter().map(CardRow::view).collect()
}

#[derive(FromRow)]
struct Row {
    #[sqlx(flatten)]
    card: CardRow,
    readme: Option<String>,
    annotations: Option<String>,
    labels: Option<String>,
    manifests: i64,
    fallback_tags: i64,
    referrers: i64,
    pushes: i64,
    last_pull: i64,
    coverage: i64,
    rev: String,
    has_latest: bool,
}

pub(super) async fn one(
    connection: &mut SqliteConnection,
    did: &Did,
    name: &str,
) -> Result<Option<RepositoryView>, IndexError> {
    let statement = format!(
        "SELECT {CARD}, p.description AS readme, r.manifests, r.fallback_tags, r.referrers, r.pushes, r.last_pull, a.coverage, a.rev, \
                EXISTS (SELECT 1 FROM tag l WHERE l.repository = r.id AND l.name = 'latest' AND l.shown = 1) AS has_latest, \
                CASE WHEN r.newest_tag = '' THEN \
                    (SELECT m.annotations FROM manifest m WHERE m.repository = r.id ORDER BY m.pushed_at DESC, m.id DESC LIMIT 1) \
                ELSE \
                    (SELECT coalesce( \
                         (SELECT m.annotations FROM manifest m \
                          WHERE m.account = r.account AND m.digest = t.digest AND m.repository = r.id LIMIT 1), \
                         (SELECT m.annotations FROM manifest m WHERE m.account = r.account AND m.digest = t.digest LIMIT 1)) \
                     FROM tag t WHERE t.repository = r.id AND t.name = r.newest_tag AND t.shown = 1) END AS annotations, \
                k.labels \
         FROM account a CROSS JOIN repository r ON r.account = a.id AND r.name = ?2 \
         LEFT JOIN page p ON p.account = a.id AND p.rkey = replace(r.name, '/', '~') \
         LEFT JOIN config k ON k.digest = r.config \
         WHERE a.did = ?1 AND r.listed = 1"
    );
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(did.as_str())
        .bind(name)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let Some(row) = row else {
        return Ok(None);
    };
    let card = row.card.view()?;
    let pull_tag = if row.has_latest {
        Some("latest".to_owned())
    } else {
        highest_release(connection, card.id)
            .await?
            .or_else(|| card.newest_tag.clone())
    };
    Ok(Some(RepositoryView {
        readme: row.readme.filter(|text| !text.is_empty()),
        annotations: stored::described(row.annotations.as_deref(), row.labels.as_deref())?,
        manifests: stored::count(row.manifests),
        fallback_tags: stored::count(row.fallback_tags),
        referrers: stored::count(row.referrers),
        pushes: stored::count(row.pushes),
        last_pull: stored::some_instant(row.last_pull),
        pull_tag,
        coverage: stored::coverage(row.coverage),
        rev: row.rev.parse().ok(),
        card,
    }))
}

/// The highest version that is a release, among the highest versions.
async fn highest_release(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Option<String>, IndexError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM tag WHERE repository = ? AND shown = 1 ORDER BY version DESC, name DESC LIMIT ?",
    )
    .bind(repository.0)
    .bind(RELEASES_TRIED)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    Ok(names.into_iter().find(|name| is_release(name)))
}

pub(super) async fn pulls_by_day(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<Vec<PullDay>, IndexError> {
    if !super::is_listed(connection, repository).await? {
        return Ok(Vec::new());
    }
    let number = |day: NaiveDate| (day - NaiveDate::default()).num_days();
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT day, pulls FROM pull_day WHERE repository = ? AND day BETWEEN ? AND ? ORDER BY day LIMIT ?",
    )
    .bind(repository.0)
    .bind(number(from))
    .bind(number(to))
    .bind(MAX_DAYS)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.into_iter()
        .map(|(day, pulls)| {
            let day = u64::try_from(day)
                .ok()
                .and_then(|day| NaiveDate::default().checked_add_days(Days::new(day)))
                .ok_or(IndexError::Corrupt("a day"))?;
            Ok(PullDay {
                day,
                pulls: stored::count(pulls),
            })
        })
        .collect()
}
