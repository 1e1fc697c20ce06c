//! Tags and their moves.

use std::collections::HashMap;

use atcr_index::IndexError;
use atcr_index::page::{Page, PageRequest, Position};
use atcr_index::row;
use atcr_index::stored;
use atcr_index::version_order::sort_key;
use atcr_index::view::{MAX_TAGS_IN_LISTS, RepositoryId, TagFilter, TagMove, TagOrder, TagView};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row as _, SqliteConnection};

use super::is_listed;
use super::list::{Order, Parameter, fetch};
use super::manifests::{SUMMARY, SummaryRow, children};
use crate::failed;
use crate::rows::rows;

/// Other tags in a tag's row.
const MAX_ALIASES: usize = MAX_TAGS_IN_LISTS;

const NEWEST: Order = Order {
    columns: &["t.moved_at", "t.name"],
    descending: true,
    values: |position| {
        vec![
            Parameter::Integer(position.rank),
            Parameter::Text(position.key.clone()),
        ]
    },
};

const VERSION: Order = Order {
    columns: &["t.version", "t.name"],
    descending: true,
    values: |position| {
        vec![
            Parameter::Text(sort_key(&position.key)),
            Parameter::Text(position.key.clone()),
        ]
    },
};

struct TagRow {
    name: String,
    digest: Vec<u8>,
    moved_at: i64,
    manifest: Option<SummaryRow>,
}

impl<'r> FromRow<'r, SqliteRow> for TagRow {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let has_manifest = row.try_get::<Option<i64>, _>("id")?.is_some();
        Ok(Self {
            name: row.try_get("name")?,
            digest: row.try_get("tag_digest")?,
            moved_at: row.try_get("moved_at")?,
            manifest: has_manifest.then(|| SummaryRow::from_row(row)).transpose()?,
        })
    }
}

/// Tags `t` of a repository with their manifests `m`; the condition follows.
fn select() -> String {
    // The digest of a manifest is the account's, in whichever of its repositories the record is.
    format!(
        "SELECT t.name, t.digest AS tag_digest, t.moved_at, {SUMMARY} FROM tag t \
         LEFT JOIN manifest m ON m.id = coalesce( \
             (SELECT x.id FROM manifest x WHERE x.account = t.account AND x.digest = t.digest AND x.repository = t.repository LIMIT 1), \
             (SELECT x.id FROM manifest x WHERE x.account = t.account AND x.digest = t.digest LIMIT 1)) \
         WHERE "
    )
}

/// What `filter` lets through, for tags `t`; the repository is ?1, the text ?2.
fn condition(filter: &TagFilter) -> String {
    let shown = if filter.fallback { 2 } else { 1 };
    let text = if filter.text.is_empty() {
        ""
    } else {
        " AND instr(lower(t.name), ?2) > 0"
    };
    format!("t.repository = ?1 AND t.shown = {shown}{text}")
}

pub(super) async fn list(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    filter: &TagFilter,
    page: &PageRequest,
) -> Result<Page<TagView>, IndexError> {
    if !is_listed(connection, repository).await? {
        return Ok(Page::empty());
    }
    let order = match filter.order {
        TagOrder::Newest => NEWEST,
        TagOrder::Version => VERSION,
    };
    let mut parameters = vec![Parameter::Integer(repository.0)];
    if !filter.text.is_empty() {
        parameters.push(Parameter::Text(filter.text.to_lowercase()));
    }
    let select = select() + &condition(filter);
    let found = fetch(connection, &select, &order, page, parameters).await?;
    let found = Page::of(found, page, |row: &TagRow| Position::new(row.moved_at, &row.name));
    let items = views(connection, repository, found.items).await?;
    Ok(Page {
        items,
        newer: found.newer,
        older: found.older,
    })
}

pub(super) async fn count(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    filter: &TagFilter,
) -> Result<u64, IndexError> {
    let count: Option<i64> = if filter.text.is_empty() {
        let column = if filter.fallback { "fallback_tags" } else { "tags" };
        let statement = format!("SELECT {column} FROM repository WHERE id = ? AND listed = 1");
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(repository.0)
            .fetch_optional(connection)
            .await
    } else {
        let statement = format!(
            "SELECT count(*) FROM tag t WHERE {} AND EXISTS (SELECT 1 FROM repository WHERE id = ?1 AND listed = 1)",
            condition(filter)
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(repository.0)
            .bind(filter.text.to_lowercase())
            .fetch_optional(connection)
            .await
    }
    .map_err(failed)?;
    Ok(count.map_or(0, stored::count))
}

pub(super) async fn one(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    name: &str,
) -> Result<Option<TagView>, IndexError> {
    if !is_listed(connection, repository).await? {
        return Ok(None);
    }
    let statement = select() + "t.repository = ? AND t.name = ? AND t.shown > 0";
    let row: Option<TagRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(repository.0)
        .bind(name)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let found = views(connection, repository, row.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

/// The rows with the children of their indexes and their aliases.
async fn views(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    found: Vec<TagRow>,
) -> Result<Vec<TagView>, IndexError> {
    let mut ids: Vec<i64> = found
        .iter()
        .filter_map(|row| row.manifest.as_ref().map(|manifest| manifest.id))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let children = children(connection, &ids).await?;
    let mut digests: Vec<&Vec<u8>> = found.iter().map(|row| &row.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    digests.retain(|digest| !digest.is_empty());
    let mut aliases: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    if !digests.is_empty() {
        let digests = digests.into_iter().map(|digest| row![digest]).collect();
        let names: Vec<(Vec<u8>, String)> = sqlx::query_as(
            "SELECT unhex(j.value), n.value FROM json_each(?2) j, json_each(( \
                 SELECT json_group_array(name) FROM (SELECT t.name FROM tag t INDEXED BY tag_by_digest \
                     WHERE t.repository = ?1 AND t.digest = unhex(j.value) AND t.shown > 0 ORDER BY t.name LIMIT ?3))) n",
        )
        .bind(repository.0)
        .bind(rows(digests))
        .bind(i64::try_from(MAX_ALIASES + 1).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
        for (digest, name) in names {
            aliases.entry(digest).or_default().push(name);
        }
    }
    found
        .into_iter()
        .map(|row| {
            let others = aliases.get(&row.digest).into_iter().flatten();
            let others = others
                .filter(|name| **name != row.name)
                .take(MAX_ALIASES)
                .cloned();
            Ok(TagView {
                digest: stored::some_digest(&row.digest)?,
                moved_at: stored::instant(row.moved_at),
                aliases: others.collect(),
                manifest: row
                    .manifest
                    .map(|manifest| {
                        let children = children.get(&manifest.id).cloned().unwrap_or_default();
                        manifest.view(children)
                    })
                    .transpose()?,
                name: row.name,
            })
        })
        .collect()
}

#[derive(FromRow)]
struct MoveRow {
    id: i64,
    tag: String,
    digest_before: Vec<u8>,
    digest_after: Vec<u8>,
    at: i64,
    rev: String,
}

pub(super) async fn moves(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    tag: Option<&str>,
    page: &PageRequest,
) -> Result<Page<TagMove>, IndexError> {
    if !is_listed(connection, repository).await? {
        return Ok(Page::empty());
    }
    let order = Order {
        columns: &["id"],
        descending: true,
        values: |position| vec![Parameter::Integer(position.id())],
    };
    let condition = if tag.is_some() { " AND tag = ?2" } else { "" };
    let select = format!(
        "SELECT id, tag, digest_before, digest_after, at, rev FROM tag_move WHERE repository = ?1{condition}"
    );
    let mut parameters = vec![Parameter::Integer(repository.0)];
    parameters.extend(tag.map(|tag| Parameter::Text(tag.to_owned())));
    let found = fetch(connection, &select, &order, page, parameters).await?;
    let found = Page::of(found, page, |row: &MoveRow| Position::new(row.at, row.id));
    let items = found
        .items
        .into_iter()
        .map(|row| {
            Ok(TagMove {
                repository,
                tag: row.tag,
                from: stored::some_digest(&row.digest_before)?,
                to: stored::some_digest(&row.digest_after)?,
                at: stored::instant(row.at),
                rev: row.rev,
            })
        })
        .collect::<Result<_, IndexError>>()?;
    Ok(Page {
        items,
        newer: found.newer,
        older: found.older,
    })
}
