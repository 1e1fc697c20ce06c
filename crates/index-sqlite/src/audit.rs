//! The whole index: dump, recount, figures.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_index::dump::DumpLine;
use atcr_index::ports::{IndexAudit, Mismatch};
use atcr_index::stored;
use atcr_index::view::IndexStats;
use atcr_index::{Collection, IndexError};
use sqlx::{FromRow, SqliteConnection};

use crate::sums::capped_sum;
use crate::{SqliteIndex, failed};

/// Mismatches of one total that are returned.
const MAX_MISMATCHES: i64 = 100;

/// Every total that follows from rows: (table, column, the rows' number).
const TOTALS: [(&str, &str, &str); 8] = [
    (
        "repository",
        "tags",
        "(SELECT count(*) FROM tag x WHERE x.repository = o.id AND x.shown = 1)",
    ),
    (
        "repository",
        "fallback_tags",
        "(SELECT count(*) FROM tag x WHERE x.repository = o.id AND x.shown = 2)",
    ),
    (
        "repository",
        "manifests",
        "(SELECT count(*) FROM manifest x WHERE x.repository = o.id)",
    ),
    (
        "repository",
        "referrers",
        "(SELECT count(*) FROM manifest x WHERE x.repository = o.id AND x.subject <> x'')",
    ),
    (
        "repository",
        "stars",
        "(SELECT count(DISTINCT x.account) FROM star x JOIN account a ON a.id = x.account JOIN account w ON w.id = o.account \
          WHERE x.owner = w.did AND x.repository = o.name AND a.status = 0 AND a.taken_down = 0)",
    ),
    (
        "repository",
        "pulls",
        concat!(
            "(SELECT coalesce(",
            capped_sum!("x.pulls + x.carried_pulls"),
            ", 0) FROM repository_hold h JOIN account n ON n.did = h.hold \
              JOIN stats x ON x.account = n.id JOIN account w ON w.id = o.account AND x.owner = w.did AND x.repository = o.name \
              WHERE h.repository = o.id)"
        ),
    ),
    (
        "repository",
        "listed",
        "(SELECT a.status = 0 AND a.taken_down = 0 AND o.tags + o.fallback_tags + o.manifests > 0 \
                 AND NOT EXISTS (SELECT 1 FROM takedown d WHERE d.did = a.did AND d.repository = o.name AND d.applies = 1) \
          FROM account a WHERE a.id = o.account)",
    ),
    (
        "account",
        "repositories",
        "(SELECT count(*) FROM repository x WHERE x.account = o.id AND x.listed = 1)",
    ),
];

#[derive(FromRow)]
struct RepositoryRow {
    did: String,
    name: String,
    tags: i64,
    fallback_tags: i64,
    manifests: i64,
    referrers: i64,
    stars: i64,
    listed: bool,
}

#[async_trait]
impl IndexAudit for SqliteIndex {
    async fn dump(&self, line: &mut (dyn FnMut(DumpLine) + Send)) -> Result<(), IndexError> {
        let mut transaction = self.database.readers().begin().await.map_err(failed)?;
        let accounts: Vec<(String, String, bool)> = sqlx::query_as(
            "SELECT did, handle, status = 0 AND taken_down = 0 FROM account \
             WHERE handle <> '' OR rev <> '' OR status <> 0 OR taken_down = 1 ORDER BY did",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        let dids: Vec<String> = accounts.iter().map(|account| account.0.clone()).collect();
        for (did, handle, visible) in accounts {
            line(DumpLine::Account { did, handle, visible });
        }
        for did in &dids {
            self.dump_records(did, line).await?;
        }
        let repositories: Vec<RepositoryRow> = sqlx::query_as(
            "SELECT a.did, r.name, r.tags, r.fallback_tags, r.manifests, r.referrers, r.stars, r.listed \
             FROM repository r JOIN account a ON a.id = r.account WHERE r.tags + r.fallback_tags + r.manifests > 0 \
             ORDER BY a.did, r.name",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        for row in repositories {
            line(DumpLine::Repository {
                did: row.did,
                name: row.name,
                tags: row.tags,
                fallback_tags: row.fallback_tags,
                manifests: row.manifests,
                referrers: row.referrers,
                stars: row.stars,
                listed: row.listed,
            });
        }
        let takedowns: Vec<(String, String)> = sqlx::query_as(
            "SELECT DISTINCT did, repository FROM takedown WHERE applies = 1 ORDER BY did, repository",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        for (did, repository) in takedowns {
            line(DumpLine::Takedown { did, repository });
        }
        for did in &dids {
            dump_winners(&mut transaction, did, line).await?;
        }
        Ok(())
    }

    async fn recount(&self) -> Result<Vec<Mismatch>, IndexError> {
        let mut transaction = self.database.readers().begin().await.map_err(failed)?;
        let mut mismatches = Vec::new();
        for (table, column, counted) in TOTALS {
            let statement = format!(
                "SELECT id, stored, counted FROM (SELECT o.id, o.{column} AS stored, {counted} AS counted FROM {table} o) \
                 WHERE stored <> counted LIMIT {MAX_MISMATCHES}"
            );
            let found: Vec<(i64, i64, i64)> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
            mismatches.extend(found.into_iter().map(|(id, stored, counted)| Mismatch {
                table,
                id,
                column,
                stored,
                counted,
            }));
        }
        let holds: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT h.repository, h.manifests, \
                    (SELECT count(*) FROM manifest m WHERE m.repository = h.repository AND m.hold = h.hold) AS counted \
             FROM repository_hold h WHERE h.manifests <> counted LIMIT ?",
        )
        .bind(MAX_MISMATCHES)
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        mismatches.extend(holds.into_iter().map(|(id, stored, counted)| Mismatch {
            table: "repository_hold",
            id,
            column: "manifests",
            stored,
            counted,
        }));
        Ok(mismatches)
    }

    async fn dids(&self, after: Option<&Did>, limit: u32) -> Result<Vec<Did>, IndexError> {
        let dids: Vec<String> =
            sqlx::query_scalar("SELECT did FROM account WHERE did > ? ORDER BY did LIMIT ?")
                .bind(after.map_or("", |after| after.as_str()))
                .bind(limit)
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        dids.iter().map(|did| stored::did(did)).collect()
    }

    async fn queued(&self, most: u32) -> Result<u64, IndexError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM work LIMIT ?)")
            .bind(i64::from(most))
            .fetch_one(self.database.readers())
            .await
            .map_err(failed)?;
        Ok(stored::count(count))
    }

    async fn stats(&self) -> Result<IndexStats, IndexError> {
        let row: (i64, i64, i64, i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM account WHERE coverage = 2), \
                    (SELECT count(*) FROM repository WHERE listed = 1), (SELECT count(*) FROM manifest), \
                    (SELECT count(*) FROM tag), (SELECT count(*) FROM star), (SELECT count(*) FROM work)",
        )
        .fetch_one(self.database.readers())
        .await
        .map_err(failed)?;
        Ok(IndexStats {
            accounts: stored::count(row.0),
            whole_accounts: stored::count(row.1),
            repositories: stored::count(row.2),
            manifests: stored::count(row.3),
            tags: stored::count(row.4),
            stars: stored::count(row.5),
            queued: stored::count(row.6),
        })
    }
}

impl SqliteIndex {
    async fn dump_records(
        &self,
        did: &str,
        line: &mut (dyn FnMut(DumpLine) + Send),
    ) -> Result<(), IndexError> {
        let did = stored::did(did)?;
        let mut collections = Collection::ALL;
        collections.sort_by_key(|collection| collection.nsid());
        for collection in collections {
            for record in crate::read::known_records(&self.database, &did, collection).await? {
                line(DumpLine::Record {
                    did: did.to_string(),
                    collection: collection.nsid(),
                    rkey: record.rkey.to_string(),
                    cid: record.cid.to_string(),
                });
            }
        }
        Ok(())
    }
}

async fn dump_winners(
    connection: &mut SqliteConnection,
    did: &str,
    line: &mut (dyn FnMut(DumpLine) + Send),
) -> Result<(), IndexError> {
    let winners: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT r.name, t.name, t.digest FROM account a CROSS JOIN repository r ON r.account = a.id \
         CROSS JOIN tag t ON t.repository = r.id WHERE a.did = ? AND t.shown > 0 ORDER BY r.name, t.name",
    )
    .bind(did)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    for (repository, tag, digest) in winners {
        line(DumpLine::Winner {
            did: did.to_owned(),
            repository,
            tag,
            digest: stored::some_digest(&digest)?
                .map(|digest| digest.to_string())
                .unwrap_or_default(),
        });
    }
    Ok(())
}
