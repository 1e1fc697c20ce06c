//! The repositories that a batch touches: their totals, what their cards show, and their search rows.

use std::collections::BTreeMap;

use atcr_index::plan::cards::{self, FoundBy, Repository};
use atcr_index::plan::{self, Writes};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::micros;
use sqlx::PgConnection;

use super::Context;
use super::search_rows::{NO_TIER, tier, write_search};
use crate::rows::{answers, decoded, set};

/// Makes sure that every repository that a manifest or a tag names has a row. A new one counts the stars that were there before it.
pub(super) async fn ensure(context: &mut Context<'_>, writes: &Writes<'_>) -> Result<(), sqlx::Error> {
    let named = plan::named(writes, context.accounts);
    context
        .set(
            "INSERT INTO repository (account, name, stars) \
             SELECT j.account, j.name, \
                    (SELECT count(DISTINCT s.account) FROM star s JOIN account a ON a.id = s.account \
                     WHERE s.owner = j.did AND s.repository = j.name AND a.status = 0 AND NOT a.taken_down) \
             FROM unnest($1::bigint[], $2::text[], $3::text[]) AS j(account, name, did) \
             WHERE NOT EXISTS (SELECT 1 FROM repository r WHERE r.account = j.account AND r.name = j.name)",
            named.clone(),
        )
        .await?;
    let found = context
        .found(
            "SELECT r.id, r.account, r.name FROM unnest($1::bigint[], $2::text[], $3::text[]) AS j(account, name, did) \
             JOIN repository r ON r.account = j.account AND r.name = j.name",
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
            "UPDATE repository r SET tags = r.tags + j.tags, fallback_tags = r.fallback_tags + j.fallback_tags, \
                 manifests = r.manifests + j.manifests, referrers = r.referrers + j.referrers, stars = r.stars + j.stars \
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
                 AS j(id, tags, fallback_tags, manifests, referrers, stars) \
             WHERE r.id = j.id",
            gains,
        )
        .await?;
    let ids = context.touched.repositories().map(|id| row![id]).collect();
    let loaded = loaded(context.answers(LOAD, ids).await?)?;
    let platforms = platforms(context, &loaded).await?;
    let plan = cards::plan(&loaded, &platforms, NO_TIER, tier);
    context
        .set(
            "UPDATE repository r SET listed = j.listed, pushed_at = j.pushed_at, newest_tag = j.newest_tag, kind = j.kind, \
                 title = j.title, summary = j.summary, licence = j.licence, platforms = j.platforms, picture = j.picture, \
                 picture_type = j.picture_type, pulls = j.pulls, pushes = j.pushes, last_pull = j.last_pull, \
                 search_tier = j.search_tier, search_hash = j.search_hash, config = j.config, config_hold = j.config_hold \
             FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], \
                         $9::text[], $10::bytea[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], \
                         $17::bytea[], $18::text[]) \
                 AS j(id, listed, pushed_at, newest_tag, kind, title, summary, licence, platforms, picture, picture_type, pulls, pushes, \
                      last_pull, search_tier, search_hash, config, config_hold) \
             WHERE r.id = j.id",
            plan.cards,
        )
        .await?;
    context
        .set(
            "UPDATE account a SET repositories = a.repositories + j.delta FROM unnest($1::bigint[], $2::bigint[]) AS j(id, delta) \
             WHERE a.id = j.id",
            plan.listed,
        )
        .await?;
    want_configs(context, plan.configured, plan.wanted).await?;
    let (found, lost): (Vec<FoundBy>, Vec<FoundBy>) =
        plan.search.into_iter().partition(|row| row.place != NO_TIER);
    let lost = lost.iter().map(|row| row![row.repository]).collect();
    write_search(context.connection, lost, &found).await
}

/// The cards of `configured` wait for no configuration, those of `wanted` for the ones that are named there.
async fn want_configs(
    context: &mut Context<'_>,
    configured: Vec<Row>,
    wanted: Vec<Row>,
) -> Result<(), sqlx::Error> {
    context
        .set(
            "DELETE FROM config_wanted WHERE repository IN (SELECT * FROM unnest($1::bigint[]))",
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
             SELECT j.repository, j.account, j.digest, j.due, 0 \
             FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[]) AS j(repository, account, digest, due) ORDER BY j.repository \
             ON CONFLICT (repository) DO UPDATE SET digest = excluded.digest, due = excluded.due, attempts = 0 \
                 WHERE config_wanted.digest <> excluded.digest",
            wanted.collect(),
        )
        .await
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
    let loaded = loaded(answers(&mut *connection, LOAD, ids).await?)?;
    let searched: Vec<FoundBy> = loaded.iter().map(|row| row.found_by(tier(row))).collect();
    let placed = searched
        .iter()
        .map(|row| row![row.repository, row.place, row.hash])
        .collect();
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
    let accounts = context.accounts.with_all_repositories();
    let accounts: Vec<Row> = accounts.into_iter().map(|id| row![id]).collect();
    context
        .touch(
            "SELECT r.id FROM unnest($1::bigint[]) AS j(account) JOIN repository r ON r.account = j.account",
            accounts,
        )
        .await?;
    let taken_down = context.accounts.taken_down_repositories().iter();
    let taken_down = taken_down.map(|(account, name)| row![*account, name]).collect();
    context
        .touch(
            "SELECT r.id FROM unnest($1::bigint[], $2::text[]) AS j(account, name) \
             JOIN repository r ON r.account = j.account AND r.name = j.name",
            taken_down,
        )
        .await
}

/// What was tagged last decides the card; in a repository without tags, its newest manifest. The columns are those of a [`Repository`], in its order.
/// The configuration is that of the image, or of the first image of an index.
const LOAD: &str = "WITH touched AS ( \
         SELECT r.*, a.did, a.handle, a.status = 0 AND NOT a.taken_down AS is_account_visible, \
                (SELECT t.name FROM tag t WHERE t.repository = r.id AND t.shown = 1 ORDER BY t.moved_at DESC, t.name DESC LIMIT 1) \
                    AS last_tag \
         FROM unnest($1::bigint[]) AS j(id) JOIN repository r ON r.id = j.id JOIN account a ON a.id = r.account) \
     SELECT q.*, k.title, k.summary, k.licence, k.platform FROM ( \
     SELECT r.id, r.account, r.name, r.handle, r.is_account_visible, \
            EXISTS (SELECT 1 FROM takedown d WHERE d.did = r.did AND d.repository = r.name AND d.applies) AS taken_down, \
            r.listed AS was_listed, r.tags, r.fallback_tags, r.manifests, r.stars, \
            least(coalesce(c.pulls, 0), 1::bigint << 62)::bigint AS pulls, least(coalesce(c.pushes, 0), 1::bigint << 62)::bigint AS pushes, coalesce(c.last_pull, 0) AS last_pull, \
            r.last_tag AS newest_tag, \
            coalesce((SELECT max(x.moved_at) FROM tag x WHERE x.repository = r.id AND x.shown = 1), 0) AS tag_moved_at, \
            m.id AS manifest, m.kind, m.annotations, \
            coalesce((SELECT max(x.pushed_at) FROM manifest x WHERE x.repository = r.id), 0) AS manifest_pushed_at, \
            p.cid AS page_cid, p.summary AS page_summary, p.picture, p.picture_type, r.search_tier, r.search_hash, \
            coalesce(o.config, ''::bytea) AS config, coalesce(o.hold, '') AS config_hold \
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
     LEFT JOIN LATERAL ( \
         SELECT CASE m.kind WHEN 0 THEN m.id WHEN 1 THEN \
                    (SELECT x.id FROM child i JOIN manifest x ON x.account = m.account AND x.digest = i.digest AND x.kind = 0 \
                     WHERE i.manifest = m.id AND NOT i.attestation ORDER BY i.position, x.id LIMIT 1) END AS id OFFSET 0) l ON true \
     LEFT JOIN manifest o ON o.id = l.id \
     LEFT JOIN page p ON p.account = r.account AND p.rkey = replace(r.name, '/', '~') \
     LEFT JOIN LATERAL ( \
         SELECT sum(s.pulls + s.carried_pulls) AS pulls, sum(s.pushes + s.carried_pushes) AS pushes, max(s.last_pull) AS last_pull \
         FROM repository_hold h JOIN account n ON n.did = h.hold \
         JOIN stats s ON s.account = n.id AND s.owner = r.did AND s.repository = r.name \
         WHERE h.repository = r.id) c ON true) q \
     LEFT JOIN config k ON k.digest = q.config";

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
            "SELECT c.manifest, c.os, c.architecture, c.variant FROM unnest($1::bigint[]) AS j(id) JOIN child c ON c.manifest = j.id \
             WHERE NOT c.attestation AND c.os <> ''",
            cards::indexes(loaded),
        )
        .await?;
    Ok(cards::platforms(children))
}
