//! The tables of the garbage collection.
//!
//! - `accounts`: who may name blobs, and what their manifests name · here: the uptime, runs, plans, deleted links

mod accounts;
mod rows;

use std::collections::HashSet;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::digests::{digest, failed, json_of, number, time};
use crate::blobs::SessionsError;
use crate::gc::ports::{Action, GcTable, Item, SavedClock, StoredRun};
use crate::gc::{Report, RunState};
use rows::{corrupt, item, run, text_of};

/// [`GcTable`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteGc {
    database: Database,
}

impl SqliteGc {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl GcTable for SqliteGc {
    async fn clock(&self) -> Result<Option<SavedClock>, SessionsError> {
        let row = sqlx::query("SELECT uptime_secs, boot, head, mark FROM gc_clock")
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        row.map(|row| {
            Ok(SavedClock {
                uptime: number(&row, "uptime_secs")?,
                boot: row.try_get("boot").map_err(failed)?,
                head: row.try_get("head").map_err(failed)?,
                mark: row.try_get("mark").map_err(failed)?,
            })
        })
        .transpose()
    }

    async fn save_clock(&self, clock: &SavedClock) -> Result<(), SessionsError> {
        sqlx::query(
            "INSERT INTO gc_clock (id, uptime_secs, boot, head, mark) VALUES (1, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET uptime_secs = excluded.uptime_secs, boot = excluded.boot, \
             head = excluded.head, mark = excluded.mark",
        )
        .bind(time(clock.uptime))
        .bind(&clock.boot)
        .bind(&clock.head)
        .bind(&clock.mark)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn bound_ages(&self, uptime: u64) -> Result<(), SessionsError> {
        let mut step = self.database.writer().begin().await.map_err(failed)?;
        for bounding in [
            "UPDATE condemned SET since = ?1 WHERE since > ?1",
            "UPDATE gc_accounts SET read_since = ?1 WHERE read_since > ?1",
            "UPDATE gc_accounts SET gone_since = ?1 WHERE gone_since > ?1",
            "UPDATE gc_accounts SET left_since = ?1 WHERE left_since > ?1",
            "UPDATE gc_runs SET since = ?1 WHERE since > ?1",
        ] {
            sqlx::query(bounding)
                .bind(time(uptime))
                .execute(&mut *step)
                .await
                .map_err(failed)?;
        }
        step.commit().await.map_err(failed)
    }

    async fn restart_ages(&self, uptime: u64) -> Result<(), SessionsError> {
        let mut step = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query("UPDATE condemned SET since = ? WHERE state = 'condemned'")
            .bind(time(uptime))
            .execute(&mut *step)
            .await
            .map_err(failed)?;
        let restarting = "UPDATE gc_accounts SET read_since = NULL, gone_since = NULL, \
                          left_since = CASE WHEN left_since IS NULL THEN NULL ELSE ? END";
        sqlx::query(restarting)
            .bind(time(uptime))
            .execute(&mut *step)
            .await
            .map_err(failed)?;
        step.commit().await.map_err(failed)
    }

    async fn begin_run(&self, now: DateTime<Utc>, since: u64) -> Result<i64, SessionsError> {
        sqlx::query_scalar(
            "INSERT INTO gc_runs (began_at, since, state, report) VALUES (?, ?, ?, '{}') RETURNING id",
        )
        .bind(now.timestamp_millis())
        .bind(time(since))
        .bind(RunState::Reading.as_str())
        .fetch_one(self.database.writer())
        .await
        .map_err(failed)
    }

    async fn save_run(&self, id: i64, state: RunState, report: &Report) -> Result<(), SessionsError> {
        sqlx::query("UPDATE gc_runs SET state = ?, report = ? WHERE id = ?")
            .bind(state.as_str())
            .bind(text_of(report)?)
            .bind(id)
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn find_run(&self, id: i64) -> Result<Option<StoredRun>, SessionsError> {
        let row = sqlx::query("SELECT id, began_at, since, state, report FROM gc_runs WHERE id = ?")
            .bind(id)
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        row.as_ref().map(run).transpose()
    }

    async fn runs(&self, limit: u32) -> Result<Vec<StoredRun>, SessionsError> {
        let rows =
            sqlx::query("SELECT id, began_at, since, state, report FROM gc_runs ORDER BY id DESC LIMIT ?")
                .bind(limit)
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        rows.iter().map(run).collect()
    }

    async fn forget_plans(&self, keep: u32) -> Result<(), SessionsError> {
        sqlx::query("DELETE FROM gc_plan WHERE run NOT IN (SELECT id FROM gc_runs ORDER BY id DESC LIMIT ?)")
            .bind(keep)
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn forget_former_owners(&self, run: i64) -> Result<(), SessionsError> {
        sqlx::query(
            "DELETE FROM gc_former WHERE digest NOT IN (SELECT digest FROM gc_plan WHERE run = ?) \
             AND digest NOT IN (SELECT digest FROM condemned) \
             AND NOT EXISTS (SELECT 1 FROM uploads WHERE uploads.digest = gc_former.digest) \
             AND NOT EXISTS (SELECT 1 FROM promises WHERE promises.digest = gc_former.digest)",
        )
        .bind(run)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn clear_plan(&self, run: i64) -> Result<(), SessionsError> {
        sqlx::query("DELETE FROM gc_plan WHERE run = ?")
            .bind(run)
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn add_items(&self, run: i64, items: &[Item]) -> Result<(), SessionsError> {
        let rows: Vec<_> = items
            .iter()
            .map(|item| {
                (
                    item.digest.to_string(),
                    item.action.as_str(),
                    time(item.bytes),
                    item.since.map(time),
                    item.owner.as_ref().map(Did::as_str),
                )
            })
            .collect();
        sqlx::query(
            "INSERT INTO gc_plan (run, digest, action, bytes, since, owner) \
             SELECT ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1) \
             WHERE true ON CONFLICT (run, digest) DO UPDATE SET bytes = bytes + excluded.bytes",
        )
        .bind(serde_json::to_string(&rows).map_err(|_| corrupt("plan"))?)
        .bind(run)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn items(
        &self,
        run: i64,
        action: Option<Action>,
        open: bool,
        after: Option<&Digest>,
        limit: u32,
    ) -> Result<Vec<Item>, SessionsError> {
        let rows = sqlx::query(
            "SELECT digest, action, bytes, since, owner, outcome FROM gc_plan \
             WHERE run = ?1 AND digest > ?2 AND (?3 IS NULL OR action = ?3) AND (NOT ?4 OR outcome IS NULL) \
             ORDER BY digest LIMIT ?5",
        )
        .bind(run)
        .bind(after.map(ToString::to_string).unwrap_or_default())
        .bind(action.map(Action::as_str))
        .bind(open)
        .bind(limit)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.iter().map(item).collect()
    }

    async fn set_outcomes(&self, run: i64, outcomes: &[(Digest, String)]) -> Result<(), SessionsError> {
        let rows: Vec<(String, &String)> = outcomes
            .iter()
            .map(|(digest, outcome)| (digest.to_string(), outcome))
            .collect();
        sqlx::query(
            "UPDATE gc_plan SET outcome = said.outcome \
             FROM (SELECT value ->> 0 AS name, value ->> 1 AS outcome FROM json_each(?1)) AS said \
             WHERE run = ?2 AND digest = said.name",
        )
        .bind(serde_json::to_string(&rows).map_err(|_| corrupt("plan"))?)
        .bind(run)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn planned(&self, run: i64, digests: &[Digest]) -> Result<HashSet<Digest>, SessionsError> {
        let rows = sqlx::query(
            "SELECT digest FROM gc_plan WHERE run = ? AND digest IN (SELECT value FROM json_each(?))",
        )
        .bind(run)
        .bind(json_of(digests))
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.iter().map(digest).collect()
    }

    async fn unlink(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
        limit: u32,
    ) -> Result<bool, SessionsError> {
        let unlinking = sqlx::query(
            "INSERT INTO unlinked (did, repository, digest) SELECT ?1, ?2, ?3 \
             WHERE (SELECT count(*) FROM unlinked WHERE did = ?1) < ?4 ON CONFLICT DO NOTHING",
        )
        .bind(did.as_str().to_owned())
        .bind(repository.to_owned())
        .bind(digest.to_string())
        .bind(limit);
        let unlinked = self.database.execute_durably(unlinking).await.map_err(failed)?;
        Ok(unlinked.rows_affected() > 0 || self.is_unlinked(did, repository, digest).await?)
    }

    async fn link(&self, did: &Did, repository: Option<&str>, digest: &Digest) -> Result<(), SessionsError> {
        // Served by unlinked_digest. Mostly there is nothing, which a reader finds without the writer.
        let is_unlinked: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM unlinked WHERE digest = ?)")
            .bind(digest.to_string())
            .fetch_one(self.database.readers())
            .await
            .map_err(failed)?;
        if !is_unlinked {
            return Ok(());
        }
        sqlx::query(
            "DELETE FROM unlinked WHERE did = ?1 AND digest = ?2 AND (?3 IS NULL OR repository = ?3)",
        )
        .bind(did.as_str())
        .bind(digest.to_string())
        .bind(repository)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn is_unlinked(&self, did: &Did, repository: &str, digest: &Digest) -> Result<bool, SessionsError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM unlinked WHERE did = ? AND repository = ? AND digest = ?)",
        )
        .bind(did.as_str())
        .bind(repository)
        .bind(digest.to_string())
        .fetch_one(self.database.readers())
        .await
        .map_err(failed)
    }

    async fn forget_links(&self, digests: &[Digest]) -> Result<(), SessionsError> {
        let mut step = self.database.writer().begin().await.map_err(failed)?;
        sqlx::query("DELETE FROM unlinked WHERE digest IN (SELECT value FROM json_each(?))")
            .bind(json_of(digests))
            .execute(&mut *step)
            .await
            .map_err(failed)?;
        sqlx::query("DELETE FROM gc_former WHERE digest IN (SELECT value FROM json_each(?))")
            .bind(json_of(digests))
            .execute(&mut *step)
            .await
            .map_err(failed)?;
        step.commit().await.map_err(failed)
    }
}
