//! The repositories that a batch touches: their totals, what their cards show, and their search rows.

use std::collections::BTreeMap;

use atcr_index::plan::cards::{self, FoundBy, Repository};
use atcr_index::plan::{self, Writes};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::micros;

use super::Context;
use crate::rows::decoded;
use crate::sums::capped_sum;

/// Bytes of a page that can be searched.
const SEARCHED_BYTES: i64 = 32 * 1024;

/// Bits of a search row's number that are the repository's.
const REPOSITORY_BITS: u32 = 40;

/// The largest bucket of popularity.
const TOP_BUCKET: i64 = 63;

/// The number of what is in no search table.
const NO_ROW: i64 = 0;

/// Makes sure that every repository that a manifest or a tag names has a row. A new one counts the stars that were there before it.
pub(super) async fn ensure(context: &mut Context<'_>, writes: &Writes<'_>) -> Result<(), sqlx::Error> {
    let named = plan::named(writes, context.accounts);
    context
        .set(
            "INSERT INTO repository (account, name, stars) \
             SELECT j.value ->> 0, j.value ->> 1, \
                    (SELECT count(DISTINCT s.account) FROM star s JOIN account a ON a.id = s.account \
                     WHERE s.owner = j.value ->> 2 AND s.repository = j.value ->> 1 AND a.status = 0 AND a.taken_down = 0) \
             FROM json_each(?) j \
             WHERE NOT EXISTS (SELECT 1 FROM repository r WHERE r.account = j.value ->> 0 AND r.name = j.value ->> 1)",
            named.clone(),
        )
        .await?;
    let found = context
        .found(
            "SELECT r.id, r.account, r.name FROM json_each(?) j \
         CROSS JOIN repository r ON r.account = j.value ->> 0 AND r.name = j.value ->> 1",
            named,
        )
        .await?;
    context.touched.found(found);
    Ok(())
}

/// Brings the touched repositories' rows up to date.
pub(super) async fn refresh(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    touch_whole_accounts(context).await?;
    if context.touched.is_empty() {
        return Ok(());
    }
    let gains = context.touched.gains();
    context
        .set(
            "UPDATE repository SET tags = tags + (value ->> 1), fallback_tags = fallback_tags + (value ->> 2), \
                 manifests = manifests + (value ->> 3), referrers = referrers + (value ->> 4), stars = stars + (value ->> 5) \
             FROM json_each(?) WHERE repository.id = value ->> 0",
            gains,
        )
        .await?;
    let ids = context.touched.repositories().map(|id| row![id]).collect();
    let loaded = loaded(context.answers(LOAD, ids).await?)?;
    let platforms = platforms(context, &loaded).await?;
    let plan = cards::plan(&loaded, &platforms, NO_ROW, search_row);
    context
        .set(
            "UPDATE repository SET listed = value ->> 1, pushed_at = value ->> 2, newest_tag = value ->> 3, kind = value ->> 4, \
                 title = value ->> 5, summary = value ->> 6, licence = value ->> 7, platforms = value ->> 8, \
                 picture = unhex(value ->> 9), picture_type = value ->> 10, pulls = value ->> 11, pushes = value ->> 12, \
                 last_pull = value ->> 13, search_row = value ->> 14, search_hash = value ->> 15, config = unhex(value ->> 16), \
                 config_hold = value ->> 17 \
             FROM json_each(?) WHERE repository.id = value ->> 0",
            plan.cards,
        )
        .await?;
    context
        .set(
            "UPDATE account SET repositories = repositories + (value ->> 1) FROM json_each(?) WHERE account.id = value ->> 0",
            plan.listed,
        )
        .await?;
    want_configs(context, plan.configured, plan.wanted).await?;
    write_search(context, &plan.search).await
}

/// The cards of `configured` wait for no configuration, those of `wanted` for the ones that are named there.
async fn want_configs(
    context: &mut Context<'_>,
    configured: Vec<Row>,
    wanted: Vec<Row>,
) -> Result<(), sqlx::Error> {
    context
        .set(
            "DELETE FROM config_wanted WHERE repository IN (SELECT value FROM json_each(?))",
            configured,
        )
        .await?;
    let now = micros(context.now);
    let wanted = wanted.into_iter().map(|mut row| {
        row.push(now.into());
        row
    });
    context
        .set(
            "INSERT INTO config_wanted (repository, account, digest, due, attempts) \
             SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, 0 FROM json_each(?) WHERE true \
             ON CONFLICT (repository) DO UPDATE SET digest = excluded.digest, due = excluded.due, attempts = 0 \
                 WHERE config_wanted.digest <> excluded.digest",
            wanted.collect(),
        )
        .await
}

/// The repositories of accounts that turned visible or invisible, or got another name, and of those with takedowns.
async fn touch_whole_accounts(context: &mut Context<'_>) -> Result<(), sqlx::Error> {
    let accounts = context.accounts.with_all_repositories();
    let accounts: Vec<Row> = accounts.into_iter().map(|id| row![id]).collect();
    context
        .touch(
            "SELECT r.id FROM json_each(?) j CROSS JOIN repository r ON r.account = j.value",
            accounts,
        )
        .await?;
    let taken_down = context.accounts.taken_down_repositories().iter();
    let taken_down = taken_down.map(|(account, name)| row![*account, name]).collect();
    context
        .touch(
            "SELECT r.id FROM json_each(?) j CROSS JOIN repository r ON r.account = j.value ->> 0 AND r.name = j.value ->> 1",
            taken_down,
        )
        .await
}

/// What was tagged last decides the card; in a repository without tags, its newest manifest. The columns are those of a [`Repository`], in its order.
/// The configuration is that of the image, or of the first image of an index.
const LOAD: &str = concat!(
    "WITH touched AS ( \
         SELECT r.*, a.did, a.handle, a.status = 0 AND a.taken_down = 0 AS is_account_visible, \
                (SELECT t.name FROM tag t WHERE t.repository = r.id AND t.shown = 1 ORDER BY t.moved_at DESC, t.name DESC LIMIT 1) \
                    AS last_tag \
         FROM json_each(?) j CROSS JOIN repository r ON r.id = j.value CROSS JOIN account a ON a.id = r.account) \
     SELECT q.*, k.title, k.summary, k.licence, k.platform FROM ( \
     SELECT r.id, r.account, r.name, r.handle, r.is_account_visible, \
            EXISTS (SELECT 1 FROM takedown d WHERE d.did = r.did AND d.repository = r.name AND d.applies = 1) AS taken_down, \
            r.listed AS was_listed, r.tags, r.fallback_tags, r.manifests, r.stars, \
            coalesce(c.pulls, 0) AS pulls, coalesce(c.pushes, 0) AS pushes, coalesce(c.last_pull, 0) AS last_pull, \
            r.last_tag AS newest_tag, \
            coalesce((SELECT max(x.moved_at) FROM tag x WHERE x.repository = r.id AND x.shown = 1), 0) AS tag_moved_at, \
            m.id AS manifest, m.kind, m.annotations, \
            coalesce((SELECT max(x.pushed_at) FROM manifest x WHERE x.repository = r.id), 0) AS manifest_pushed_at, \
            p.cid AS page_cid, p.summary AS page_summary, p.picture, p.picture_type, \
            r.search_row, r.search_hash, \
            coalesce(o.config, x'') AS config, coalesce(o.hold, '') AS config_hold \
     FROM touched r \
     LEFT JOIN tag t ON t.repository = r.id AND t.name = r.last_tag AND t.shown = 1 \
     LEFT JOIN manifest m ON m.id = CASE \
         WHEN r.last_tag IS NULL THEN \
             (SELECT x.id FROM manifest x WHERE x.repository = r.id ORDER BY x.pushed_at DESC, x.id DESC LIMIT 1) \
         ELSE coalesce( \
             (SELECT x.id FROM manifest x WHERE x.account = r.account AND x.digest = t.digest AND x.repository = r.id LIMIT 1), \
             (SELECT x.id FROM manifest x WHERE x.account = r.account AND x.digest = t.digest LIMIT 1)) END \
     LEFT JOIN manifest o ON o.id = CASE m.kind WHEN 0 THEN m.id WHEN 1 THEN \
         (SELECT x.id FROM child i CROSS JOIN manifest x ON x.account = m.account AND x.digest = i.digest AND x.kind = 0 \
          WHERE i.manifest = m.id AND i.attestation = 0 ORDER BY i.position, x.id LIMIT 1) END \
     LEFT JOIN page p ON p.account = r.account AND p.rkey = replace(r.name, '/', '~') \
     LEFT JOIN (SELECT q.id, ",
    capped_sum!("s.pulls + s.carried_pulls"),
    " AS pulls, ",
    capped_sum!("s.pushes + s.carried_pushes"),
    " AS pushes, max(s.last_pull) AS last_pull \
                FROM touched q CROSS JOIN repository_hold h ON h.repository = q.id CROSS JOIN account n ON n.did = h.hold \
                CROSS JOIN stats s INDEXED BY stats_by_subject \
                  ON s.account = n.id AND s.owner = q.did AND s.repository = q.name \
                GROUP BY q.id) c ON c.id = r.id) q \
     LEFT JOIN config k ON k.digest = q.config"
);

fn loaded(answers: Vec<atcr_index::row::Answer>) -> Result<Vec<Repository>, sqlx::Error> {
    let repositories = answers.into_iter().map(Repository::of);
    repositories.collect::<Result<_, _>>().map_err(decoded)
}

/// The platforms of the indexes among the newest manifests.
async fn platforms(
    context: &mut Context<'_>,
    loaded: &[Repository],
) -> Result<BTreeMap<i64, String>, sqlx::Error> {
    let children = context
        .found(
            "SELECT c.manifest, c.os, c.architecture, c.variant FROM json_each(?) j CROSS JOIN child c ON c.manifest = j.value \
         WHERE c.attestation = 0 AND c.os <> ''",
            cards::indexes(loaded),
        )
        .await?;
    Ok(cards::platforms(children))
}

/// The number of a repository's search row. Popular ones come first.
fn search_row(repository: &Repository) -> i64 {
    let bucket = i64::from(repository.weight().ilog2()).min(TOP_BUCKET);
    ((TOP_BUCKET - bucket) << REPOSITORY_BITS) | repository.id
}

async fn write_search(context: &mut Context<'_>, changed: &[FoundBy]) -> Result<(), sqlx::Error> {
    let gone: Vec<Row> = changed
        .iter()
        .filter(|row| row.before != NO_ROW)
        .map(|row| row![row.before])
        .collect();
    context
        .set(
            "DELETE FROM search WHERE rowid IN (SELECT value FROM json_each(?))",
            gone.clone(),
        )
        .await?;
    context
        .set(
            "DELETE FROM search_like WHERE rowid IN (SELECT value FROM json_each(?))",
            gone,
        )
        .await?;
    let new: Vec<Row> = changed
        .iter()
        .filter(|row| row.place != NO_ROW)
        .map(|row| {
            row![
                row.place,
                row.repository,
                &row.name,
                &row.owner,
                &row.title,
                &row.summary,
                SEARCHED_BYTES,
                row.names()
            ]
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
            new.clone(),
        )
        .await?;
    context
        .set(
            "INSERT INTO search_like (rowid, names) SELECT value ->> 0, value ->> 7 FROM json_each(?)",
            new,
        )
        .await
}
