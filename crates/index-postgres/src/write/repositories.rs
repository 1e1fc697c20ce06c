//! The repositories that a batch touches: their totals, what their cards show, and their search rows.

use std::collections::{BTreeMap, HashMap};

use atcr_index::fact::{Kind, one_line};
use atcr_index::plan::{self, Writes};
use atcr_index::row;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::{FromRow, PgConnection};

use super::Context;
use super::search_rows::{NO_TIER, SearchRow, tier, write_search};
use crate::rows::{found, set};

/// Platforms on a card.
const MAX_PLATFORMS: usize = 16;

/// Makes sure that every repository that a manifest or a tag names has a row. A new one counts the stars that were there before it.
pub(super) async fn ensure(context: &mut Context<'_>, writes: &Writes<'_>) -> Result<(), sqlx::Error> {
    let values = plan::named(writes, context.accounts);
    if values.is_empty() {
        return Ok(());
    }
    context
        .set(
            "INSERT INTO repository (account, name, stars) \
             SELECT j.account, j.name, \
                    (SELECT count(DISTINCT s.account) FROM star s JOIN account a ON a.id = s.account \
                     WHERE s.owner = j.did AND s.repository = j.name AND a.status = 0 AND NOT a.taken_down) \
             FROM unnest($1::bigint[], $2::text[], $3::text[]) AS j(account, name, did) \
             WHERE NOT EXISTS (SELECT 1 FROM repository r WHERE r.account = j.account AND r.name = j.name)",
            values.clone(),
        )
        .await?;
    let found: Vec<(i64, i64, String)> = context
        .found(
            "SELECT r.id, r.account, r.name FROM unnest($1::bigint[], $2::text[], $3::text[]) AS j(account, name, did) \
             JOIN repository r ON r.account = j.account AND r.name = j.name",
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
    page_cid: Option<Vec<u8>>,
    page_summary: Option<String>,
    picture: Option<Vec<u8>>,
    picture_type: Option<String>,
    search_tier: i64,
    search_hash: i64,
}

/// Brings the touched repositories' rows up to date.
pub(super) async fn refresh(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    touch_whole_accounts(context).await?;
    if context.touched.is_empty() {
        return Ok(());
    }
    add_totals(context).await?;
    let ids = context.touched.repositories().map(|id| row![id]).collect();
    let loaded: Vec<Row> = context.found(LOAD, ids).await?;
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
        let (tier, search_hash) = if is_listed {
            (tier(row.stars, row.pulls), card.search_hash(row))
        } else {
            (NO_TIER, 0)
        };
        if tier == NO_TIER && row.search_tier != NO_TIER {
            unsearched.push(row![row.id]);
        } else if (tier, search_hash) != (row.search_tier, row.search_hash) {
            searched.push(card.search_row(row, tier));
        }
        cards.push(row![
            row.id,
            is_listed,
            row.tag_moved_at.max(row.manifest_pushed_at),
            row.newest_tag.as_deref().unwrap_or_default(),
            row.kind.unwrap_or(-1),
            card.title,
            card.summary,
            card.licence,
            row.manifest
                .and_then(|manifest| platforms.get(&manifest))
                .map_or("[]", String::as_str),
            row.picture.clone().unwrap_or_default(),
            row.picture_type.as_deref().unwrap_or_default(),
            row.pulls,
            row.pushes,
            row.last_pull,
            tier,
            search_hash
        ]);
    }
    context
        .set(
            "UPDATE repository r SET listed = j.listed, pushed_at = j.pushed_at, newest_tag = j.newest_tag, kind = j.kind, \
                 title = j.title, summary = j.summary, licence = j.licence, platforms = j.platforms, picture = j.picture, \
                 picture_type = j.picture_type, pulls = j.pulls, pushes = j.pushes, last_pull = j.last_pull, \
                 search_tier = j.search_tier, search_hash = j.search_hash \
             FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], \
                         $9::text[], $10::bytea[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[]) \
                 AS j(id, listed, pushed_at, newest_tag, kind, title, summary, licence, platforms, picture, picture_type, pulls, pushes, \
                      last_pull, search_tier, search_hash) \
             WHERE r.id = j.id",
            cards,
        )
        .await?;
    let listed = listed
        .into_iter()
        .filter(|(_, delta)| *delta != 0)
        .map(|(account, delta)| row![account, delta])
        .collect();
    context
        .set(
            "UPDATE account a SET repositories = a.repositories + j.delta FROM unnest($1::bigint[], $2::bigint[]) AS j(id, delta) \
             WHERE a.id = j.id",
            listed,
        )
        .await?;
    write_search(context.connection, unsearched, &searched).await
}

/// Makes the texts of at most `limit` listed repositories behind `after` searchable. Returns the last one's number and how many there were.
pub(crate) async fn fill_search(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Option<(i64, u64)>, sqlx::Error> {
    let ids: Vec<(i64,)> =
        sqlx::query_as("SELECT id FROM repository WHERE id > $1 AND listed ORDER BY id LIMIT $2")
            .bind(after)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
    let Some((last,)) = ids.last().copied() else {
        return Ok(None);
    };
    let count = ids.len() as u64;
    let ids = ids.into_iter().map(|(id,)| row![id]).collect();
    let loaded: Vec<Row> = found(&mut *connection, LOAD, ids).await?;
    let mut searched = Vec::new();
    let mut placed = Vec::new();
    for row in &loaded {
        let card = Card::of(row);
        placed.push(row![row.id, tier(row.stars, row.pulls), card.search_hash(row)]);
        searched.push(card.search_row(row, tier(row.stars, row.pulls)));
    }
    set(
        connection,
        "UPDATE repository r SET search_tier = j.tier, search_hash = j.hash \
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS j(id, tier, hash) WHERE r.id = j.id",
        placed,
    )
    .await?;
    write_search(connection, Vec::new(), &searched).await?;
    Ok(Some((last, count)))
}

/// The repositories of accounts that turned visible or invisible, or got another name, and of those with takedowns.
async fn touch_whole_accounts(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    let accounts = context
        .accounts
        .with_all_repositories()
        .into_iter()
        .map(|id| row![id])
        .collect();
    let mut found: Vec<(i64,)> = context
        .found(
            "SELECT r.id FROM unnest($1::bigint[]) AS j(account) JOIN repository r ON r.account = j.account",
            accounts,
        )
        .await?;
    let taken_down = context
        .accounts
        .taken_down_repositories()
        .iter()
        .map(|(account, name)| row![*account, name])
        .collect();
    let named: Vec<(i64,)> = context
        .found(
            "SELECT r.id FROM unnest($1::bigint[], $2::text[]) AS j(account, name) \
             JOIN repository r ON r.account = j.account AND r.name = j.name",
            taken_down,
        )
        .await?;
    found.extend(named);
    for (id,) in found {
        context.touched.totals(id);
    }
    Ok(())
}

async fn add_totals(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    let gains = context.touched.gains();
    context
        .set(
            "UPDATE repository r SET tags = r.tags + j.tags, fallback_tags = r.fallback_tags + j.fallback_tags, \
                 manifests = r.manifests + j.manifests, referrers = r.referrers + j.referrers, stars = r.stars + j.stars \
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
                 AS j(id, tags, fallback_tags, manifests, referrers, stars) \
             WHERE r.id = j.id",
            gains,
        )
        .await
}

/// What was tagged last decides the card; in a repository without tags, its newest manifest.
const LOAD: &str = "WITH touched AS ( \
         SELECT r.*, a.did, a.handle, a.status = 0 AND NOT a.taken_down AS is_account_visible, \
                (SELECT t.name FROM tag t WHERE t.repository = r.id AND t.shown = 1 ORDER BY t.moved_at DESC, t.name DESC LIMIT 1) \
                    AS last_tag \
         FROM unnest($1::bigint[]) AS j(id) JOIN repository r ON r.id = j.id JOIN account a ON a.id = r.account) \
     SELECT r.id, r.account, r.name, r.handle, r.is_account_visible, \
            EXISTS (SELECT 1 FROM takedown d WHERE d.did = r.did AND d.repository = r.name AND d.applies) AS taken_down, \
            r.listed AS was_listed, r.tags, r.fallback_tags, r.manifests, r.stars, \
            least(coalesce(c.pulls, 0), 1::bigint << 62)::bigint AS pulls, least(coalesce(c.pushes, 0), 1::bigint << 62)::bigint AS pushes, coalesce(c.last_pull, 0) AS last_pull, \
            r.last_tag AS newest_tag, \
            coalesce((SELECT max(x.moved_at) FROM tag x WHERE x.repository = r.id AND x.shown = 1), 0) AS tag_moved_at, \
            m.id AS manifest, m.kind, m.annotations, \
            coalesce((SELECT max(x.pushed_at) FROM manifest x WHERE x.repository = r.id), 0) AS manifest_pushed_at, \
            p.cid AS page_cid, p.summary AS page_summary, p.picture, p.picture_type, r.search_tier, r.search_hash \
     FROM touched r \
     LEFT JOIN LATERAL ( \
         SELECT CASE WHEN r.last_tag IS NULL THEN \
                    (SELECT x.id FROM manifest x WHERE x.repository = r.id ORDER BY x.pushed_at DESC, x.id DESC LIMIT 1) \
                ELSE \
                    (SELECT coalesce( \
                         (SELECT x.id FROM manifest x WHERE x.account = r.account AND x.digest = t.digest AND x.repository = r.id \
                          ORDER BY x.odd_rkey LIMIT 1), \
                         (SELECT x.id FROM manifest x WHERE x.account = r.account AND x.digest = t.digest ORDER BY x.odd_rkey LIMIT 1)) \
                     FROM tag t WHERE t.repository = r.id AND t.name = r.last_tag AND t.shown = 1) END AS id OFFSET 0) n ON true \
     LEFT JOIN manifest m ON m.id = n.id \
     LEFT JOIN page p ON p.account = r.account AND p.rkey = replace(r.name, '/', '~') \
     LEFT JOIN LATERAL ( \
         SELECT sum(s.pulls + s.carried_pulls) AS pulls, sum(s.pushes + s.carried_pushes) AS pushes, max(s.last_pull) AS last_pull \
         FROM repository_hold h JOIN account n ON n.did = h.hold \
         JOIN stats s ON s.account = n.id AND s.owner = r.did AND s.repository = r.name \
         WHERE h.repository = r.id) c ON true";

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

    /// The text in the search table.
    fn search_row(&self, row: &Row, tier: i64) -> SearchRow {
        SearchRow {
            repository: row.id,
            tier,
            name: row.name.clone(),
            owner: row.handle.clone(),
            title: self.title.clone(),
            summary: self.summary.clone(),
        }
    }

    /// Changes whenever the text in the search table has to.
    fn search_hash(&self, row: &Row) -> i64 {
        let mut hash = Sha256::new();
        for text in [&*row.name, &row.handle, &self.title, &self.summary] {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        hash.update(row.page_cid.as_deref().unwrap_or_default());
        let hash = hash.finalize();
        i64::from_le_bytes(std::array::from_fn(|index| hash[index]))
    }
}

/// The platforms of the indexes among the newest manifests, as JSON lists: amd64, arm64, then by name.
async fn platforms(context: &mut Context<'_>, loaded: &[Row]) -> Result<HashMap<i64, String>, sqlx::Error> {
    let indexes = loaded
        .iter()
        .filter(|row| row.kind == Some(Kind::ImageIndex.code()))
        .filter_map(|row| row.manifest.map(|manifest| row![manifest]))
        .collect();
    let found: Vec<(i64, String, String, String)> = context
        .found(
            "SELECT c.manifest, c.os, c.architecture, c.variant FROM unnest($1::bigint[]) AS j(id) JOIN child c ON c.manifest = j.id \
             WHERE NOT c.attestation AND c.os <> ''",
            indexes,
        )
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
