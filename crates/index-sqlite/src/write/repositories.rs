//! The repositories that a batch touches: their totals, what their cards show, and their search rows.

use std::collections::{BTreeMap, HashMap};

use atcr_index::fact::{Kind, one_line};
use atcr_index::plan::{self, Writes};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::FromRow;

use super::Context;
use crate::codec::{capped_sum, rows};

/// Platforms on a card.
const MAX_PLATFORMS: usize = 16;

/// Bytes of a page that can be searched.
const SEARCHED_BYTES: i64 = 32 * 1024;

/// Bits of a search row's number that are the repository's.
const REPOSITORY_BITS: u32 = 40;

/// The largest bucket of popularity.
const TOP_BUCKET: i64 = 63;

/// Makes sure that every repository that a manifest or a tag names has a row. A new one counts the stars that were there before it.
pub(super) async fn ensure(context: &mut Context<'_>, writes: &Writes<'_>) -> Result<(), sqlx::Error> {
    let values = plan::named(writes, context.accounts);
    if values.is_empty() {
        return Ok(());
    }
    context
        .put(
            "INSERT INTO repository (account, name, stars) \
             SELECT j.value ->> 0, j.value ->> 1, \
                    (SELECT count(DISTINCT s.account) FROM star s JOIN account a ON a.id = s.account \
                     WHERE s.owner = j.value ->> 2 AND s.repository = j.value ->> 1 AND a.status = 0 AND a.taken_down = 0) \
             FROM json_each(?) j \
             WHERE NOT EXISTS (SELECT 1 FROM repository r WHERE r.account = j.value ->> 0 AND r.name = j.value ->> 1)",
            values.clone(),
        )
        .await?;
    let found: Vec<(i64, i64, String)> = crate::rows::found(
        context.connection,
        "SELECT r.id, r.account, r.name FROM json_each(?) j \
         CROSS JOIN repository r ON r.account = j.value ->> 0 AND r.name = j.value ->> 1",
        values,
    )
    .await?;
    context.touched.found(found);
    Ok(())
}

/// A repository and what its card is made of.
#[derive(FromRow)]
struct Row {
    id: i64,
    account: i64,
    name: String,
    handle: String,
    is_account_visible: bool,
    taken_down: bool,
    was_listed: bool,
    tags: i64,
    fallback_tags: i64,
    manifests: i64,
    stars: i64,
    pulls: i64,
    pushes: i64,
    last_pull: i64,
    newest_tag: Option<String>,
    tag_moved_at: i64,
    manifest: Option<i64>,
    kind: Option<i64>,
    annotations: Option<String>,
    manifest_pushed_at: i64,
    page_cid: Option<String>,
    page_summary: Option<String>,
    picture: Option<String>,
    picture_type: Option<String>,
    search_row: i64,
    search_hash: i64,
}

/// A row of the search tables.
struct SearchRow {
    row: i64,
    repository: i64,
    name: String,
    owner: String,
    title: String,
    summary: String,
}

/// Brings the touched repositories' rows up to date.
pub(super) async fn refresh(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    touch_whole_accounts(context).await?;
    if context.touched.is_empty() {
        return Ok(());
    }
    add_totals(context).await?;
    let ids: Vec<Value> = context.touched.repositories().map(Value::from).collect();
    let loaded: Vec<Row> = sqlx::query_as(LOAD)
        .bind(rows(&ids))
        .fetch_all(&mut *context.connection)
        .await?;
    let platforms = platforms(context, &loaded).await?;
    let mut cards = Vec::new();
    let mut listed: BTreeMap<i64, i64> = BTreeMap::new();
    let mut unsearched = Vec::new();
    let mut searched = Vec::new();
    for row in &loaded {
        let is_listed =
            row.is_account_visible && !row.taken_down && row.tags + row.fallback_tags + row.manifests > 0;
        *listed.entry(row.account).or_default() += i64::from(is_listed) - i64::from(row.was_listed);
        let card = Card::of(row);
        let (search_row, search_hash) = if is_listed {
            (search_row(row), card.search_hash(row))
        } else {
            (0, 0)
        };
        if (search_row, search_hash) != (row.search_row, row.search_hash) {
            if row.search_row != 0 {
                unsearched.push(Value::from(row.search_row));
            }
            if search_row != 0 {
                searched.push(SearchRow {
                    row: search_row,
                    repository: row.id,
                    name: row.name.clone(),
                    owner: row.handle.clone(),
                    title: card.title.clone(),
                    summary: card.summary.clone(),
                });
            }
        }
        cards.push(json!([
            row.id,
            i64::from(is_listed),
            row.tag_moved_at.max(row.manifest_pushed_at),
            row.newest_tag.as_deref().unwrap_or_default(),
            row.kind.unwrap_or(-1),
            card.title,
            card.summary,
            card.licence,
            row.manifest
                .and_then(|manifest| platforms.get(&manifest))
                .map_or("[]", String::as_str),
            row.picture.as_deref().unwrap_or_default(),
            row.picture_type.as_deref().unwrap_or_default(),
            row.pulls,
            row.pushes,
            row.last_pull,
            search_row,
            search_hash
        ]));
    }
    context
        .set(
            "UPDATE repository SET listed = value ->> 1, pushed_at = value ->> 2, newest_tag = value ->> 3, kind = value ->> 4, \
                 title = value ->> 5, summary = value ->> 6, licence = value ->> 7, platforms = value ->> 8, \
                 picture = unhex(value ->> 9), picture_type = value ->> 10, pulls = value ->> 11, pushes = value ->> 12, \
                 last_pull = value ->> 13, search_row = value ->> 14, search_hash = value ->> 15 \
             FROM json_each(?) WHERE repository.id = value ->> 0",
            &cards,
        )
        .await?;
    let listed: Vec<Value> = listed
        .into_iter()
        .filter(|(_, delta)| *delta != 0)
        .map(|(account, delta)| json!([account, delta]))
        .collect();
    context
        .set(
            "UPDATE account SET repositories = repositories + (value ->> 1) FROM json_each(?) WHERE account.id = value ->> 0",
            &listed,
        )
        .await?;
    write_search(context, &unsearched, &searched).await
}

/// The repositories of accounts that turned visible or invisible, or got another name, and of those with takedowns.
async fn touch_whole_accounts(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    let accounts: Vec<Value> = context
        .accounts
        .with_all_repositories()
        .into_iter()
        .map(Value::from)
        .collect();
    let found: Vec<i64> =
        sqlx::query_scalar("SELECT r.id FROM json_each(?) j CROSS JOIN repository r ON r.account = j.value")
            .bind(rows(&accounts))
            .fetch_all(&mut *context.connection)
            .await?;
    for id in found {
        context.touched.totals(id);
    }
    let taken_down: Vec<Value> = context
        .accounts
        .taken_down_repositories()
        .iter()
        .map(|(account, name)| json!([account, name]))
        .collect();
    let found: Vec<i64> = sqlx::query_scalar(
        "SELECT r.id FROM json_each(?) j CROSS JOIN repository r ON r.account = j.value ->> 0 AND r.name = j.value ->> 1",
    )
    .bind(rows(&taken_down))
    .fetch_all(&mut *context.connection)
    .await?;
    for id in found {
        context.touched.totals(id);
    }
    Ok(())
}

async fn add_totals(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    let gains = context.touched.gains();
    context
        .put(
            "UPDATE repository SET tags = tags + (value ->> 1), fallback_tags = fallback_tags + (value ->> 2), \
                 manifests = manifests + (value ->> 3), referrers = referrers + (value ->> 4), stars = stars + (value ->> 5) \
             FROM json_each(?) WHERE repository.id = value ->> 0",
            gains,
        )
        .await
}

/// What was tagged last decides the card; in a repository without tags, its newest manifest.
const LOAD: &str = concat!(
    "WITH touched AS ( \
         SELECT r.*, a.did, a.handle, a.status = 0 AND a.taken_down = 0 AS is_account_visible, \
                (SELECT t.name FROM tag t WHERE t.repository = r.id AND t.shown = 1 ORDER BY t.moved_at DESC, t.name DESC LIMIT 1) \
                    AS last_tag \
         FROM json_each(?) j CROSS JOIN repository r ON r.id = j.value CROSS JOIN account a ON a.id = r.account) \
     SELECT r.id, r.account, r.name, r.handle, r.is_account_visible, \
            EXISTS (SELECT 1 FROM takedown d WHERE d.did = r.did AND d.repository = r.name AND d.applies = 1) AS taken_down, \
            r.listed AS was_listed, r.tags, r.fallback_tags, r.manifests, r.stars, \
            coalesce(c.pulls, 0) AS pulls, coalesce(c.pushes, 0) AS pushes, coalesce(c.last_pull, 0) AS last_pull, \
            r.last_tag AS newest_tag, \
            coalesce((SELECT max(x.moved_at) FROM tag x WHERE x.repository = r.id AND x.shown = 1), 0) AS tag_moved_at, \
            m.id AS manifest, m.kind, m.annotations, \
            coalesce((SELECT max(x.pushed_at) FROM manifest x WHERE x.repository = r.id), 0) AS manifest_pushed_at, \
            lower(hex(p.cid)) AS page_cid, p.summary AS page_summary, lower(hex(p.picture)) AS picture, p.picture_type, \
            r.search_row, r.search_hash \
     FROM touched r \
     LEFT JOIN tag t ON t.repository = r.id AND t.name = r.last_tag AND t.shown = 1 \
     LEFT JOIN manifest m ON m.id = CASE \
         WHEN r.last_tag IS NULL THEN \
             (SELECT x.id FROM manifest x WHERE x.repository = r.id ORDER BY x.pushed_at DESC, x.id DESC LIMIT 1) \
         ELSE coalesce( \
             (SELECT x.id FROM manifest x WHERE x.account = r.account AND x.digest = t.digest AND x.repository = r.id LIMIT 1), \
             (SELECT x.id FROM manifest x WHERE x.account = r.account AND x.digest = t.digest LIMIT 1)) END \
     LEFT JOIN page p ON p.account = r.account AND p.rkey = replace(r.name, '/', '~') \
     LEFT JOIN (SELECT q.id, ",
    capped_sum!("s.pulls + s.carried_pulls"),
    " AS pulls, ",
    capped_sum!("s.pushes + s.carried_pushes"),
    " AS pushes, max(s.last_pull) AS last_pull \
                FROM touched q CROSS JOIN repository_hold h ON h.repository = q.id CROSS JOIN account n ON n.did = h.hold \
                CROSS JOIN stats s INDEXED BY stats_by_subject \
                  ON s.account = n.id AND s.owner = q.did AND s.repository = q.name \
                GROUP BY q.id) c ON c.id = r.id"
);

/// The texts of a card.
struct Card {
    title: String,
    summary: String,
    licence: String,
}

impl Card {
    fn of(row: &Row) -> Self {
        let annotations: BTreeMap<String, String> = row
            .annotations
            .as_deref()
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let text = |name: &str| {
            let key = format!("org.opencontainers.image.{name}");
            annotations
                .get(&key)
                .map(|text| one_line(text))
                .unwrap_or_default()
        };
        let described = text("description");
        Self {
            title: text("title"),
            summary: if described.is_empty() {
                row.page_summary.clone().unwrap_or_default()
            } else {
                described
            },
            licence: text("licenses"),
        }
    }

    /// Changes whenever the text in the search tables has to.
    fn search_hash(&self, row: &Row) -> i64 {
        let mut hash = Sha256::new();
        let page = row.page_cid.as_deref().unwrap_or_default();
        for text in [&*row.name, &row.handle, &self.title, &self.summary, page] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        let hash = hash.finalize();
        i64::from_le_bytes(std::array::from_fn(|index| hash[index]))
    }
}

/// The number of a repository's search row. Popular ones come first.
fn search_row(row: &Row) -> i64 {
    let weight = u64::try_from(1 + row.stars.max(0) + row.pulls.max(0) / 100).unwrap_or(1);
    let bucket = i64::from(weight.ilog2()).min(TOP_BUCKET);
    ((TOP_BUCKET - bucket) << REPOSITORY_BITS) | row.id
}

/// The platforms of the indexes among the newest manifests, as JSON lists: amd64, arm64, then by name.
async fn platforms(context: &mut Context<'_>, loaded: &[Row]) -> Result<HashMap<i64, String>, sqlx::Error> {
    let indexes: Vec<Value> = loaded
        .iter()
        .filter(|row| row.kind == Some(Kind::ImageIndex.code()))
        .filter_map(|row| row.manifest.map(Value::from))
        .collect();
    if indexes.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(i64, String, String, String)> = sqlx::query_as(
        "SELECT c.manifest, c.os, c.architecture, c.variant FROM json_each(?) j CROSS JOIN child c ON c.manifest = j.value \
         WHERE c.attestation = 0 AND c.os <> ''",
    )
    .bind(rows(&indexes))
    .fetch_all(&mut *context.connection)
    .await?;
    let mut names: HashMap<i64, Vec<(u8, String)>> = HashMap::new();
    for (manifest, os, architecture, variant) in found {
        let rank = match (&*os, &*architecture) {
            ("linux", "amd64") => 0,
            ("linux", "arm64") => 1,
            _ => 2,
        };
        let mut name = format!("{os}/{architecture}");
        if !variant.is_empty() {
            name.push('/');
            name.push_str(&variant);
        }
        names.entry(manifest).or_default().push((rank, name));
    }
    Ok(names
        .into_iter()
        .map(|(manifest, mut names)| {
            names.sort();
            names.dedup();
            let names: Vec<String> = names
                .into_iter()
                .take(MAX_PLATFORMS)
                .map(|(_, name)| name)
                .collect();
            (manifest, json!(names).to_string())
        })
        .collect())
}

async fn write_search(
    context: &mut Context<'_>,
    gone: &[Value],
    new: &[SearchRow],
) -> Result<(), sqlx::Error> {
    context
        .set(
            "DELETE FROM search WHERE rowid IN (SELECT value FROM json_each(?))",
            gone,
        )
        .await?;
    context
        .set(
            "DELETE FROM search_like WHERE rowid IN (SELECT value FROM json_each(?))",
            gone,
        )
        .await?;
    let values: Vec<Value> = new
        .iter()
        .map(|row| {
            json!([
                row.row,
                row.repository,
                row.name,
                row.owner,
                row.title,
                row.summary,
                SEARCHED_BYTES,
                format!("{} {} {}", row.name, row.owner, row.title).to_lowercase()
            ])
        })
        .collect();
    context
        .set(
            "INSERT INTO search (rowid, name, owner, title, summary, readme) \
             SELECT j.value ->> 0, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5, \
                    coalesce((SELECT substr(p.description, 1, j.value ->> 6) FROM repository r \
                              JOIN page p ON p.account = r.account AND p.rkey = replace(r.name, '/', '~') \
                              WHERE r.id = j.value ->> 1), '') \
             FROM json_each(?) j",
            &values,
        )
        .await?;
    context
        .set(
            "INSERT INTO search_like (rowid, names) SELECT value ->> 0, value ->> 7 FROM json_each(?)",
            &values,
        )
        .await
}
