//! The tables of the garbage collection: accounts, what their manifests name, runs and plans.

mod rows;

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Tid};
use atcr_oci::Digest;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::digests::{digest, failed, from_short, json_of, number, short_json_of, time};
use crate::blobs::SessionsError;
use crate::gc::ports::{Account, AccountState, Action, GcTable, Item, KnownManifest, SavedClock, StoredRun};
use crate::gc::{Report, RunState};
use rows::{account, corrupt, item, run, state_text, text_of};

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
        let row = sqlx::query("SELECT uptime_secs, boot, head FROM gc_clock")
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        row.map(|row| {
            Ok(SavedClock {
                uptime: number(&row, "uptime_secs")?,
                boot: row.try_get("boot").map_err(failed)?,
                head: row.try_get("head").map_err(failed)?,
            })
        })
        .transpose()
    }

    async fn save_clock(&self, clock: &SavedClock) -> Result<(), SessionsError> {
        sqlx::query(
            "INSERT INTO gc_clock (id, uptime_secs, boot, head) VALUES (1, ?, ?, ?) ON CONFLICT (id) DO UPDATE \
             SET uptime_secs = excluded.uptime_secs, boot = excluded.boot, head = excluded.head",
        )
        .bind(time(clock.uptime))
        .bind(&clock.boot)
        .bind(&clock.head)
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

    async fn note_accounts(&self, dids: &[Did]) -> Result<(), SessionsError> {
        let dids: Vec<&str> = dids.iter().map(Did::as_str).collect();
        sqlx::query(
            "INSERT INTO gc_accounts (did, state) SELECT value, 'new' FROM json_each(?) WHERE true \
             ON CONFLICT (did) DO NOTHING",
        )
        .bind(serde_json::to_string(&dids).map_err(|_| corrupt("did"))?)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn note_members(&self, dids: &[Did], anew: bool) -> Result<(), SessionsError> {
        let dids: Vec<&str> = dids.iter().map(Did::as_str).collect();
        let noting = sqlx::query(
            "INSERT INTO gc_accounts (did, state, may_push) SELECT value, 'new', 1 FROM json_each(?1) WHERE true \
             ON CONFLICT (did) DO UPDATE SET may_push = 1, left_since = NULL, released = released AND NOT ?2, \
             erased = erased AND NOT ?2",
        )
        .bind(serde_json::to_string(&dids).map_err(|_| corrupt("did"))?)
        .bind(anew);
        self.database.execute_durably(noting).await.map_err(failed)?;
        Ok(())
    }

    async fn note_leavers(&self, members: &[Did], now: u64) -> Result<(), SessionsError> {
        let members: Vec<&str> = members.iter().map(Did::as_str).collect();
        sqlx::query(
            "UPDATE gc_accounts SET left_since = ?2 WHERE may_push AND left_since IS NULL \
             AND did NOT IN (SELECT value FROM json_each(?1))",
        )
        .bind(serde_json::to_string(&members).map_err(|_| corrupt("did"))?)
        .bind(time(now))
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn settle_leaver(&self, id: i64, left_before: u64) -> Result<(), SessionsError> {
        sqlx::query("UPDATE gc_accounts SET may_push = 0 WHERE id = ? AND left_since < ?")
            .bind(id)
            .bind(time(left_before))
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn note_erased(&self, members: &[Did]) -> Result<(), SessionsError> {
        let members: Vec<&str> = members.iter().map(Did::as_str).collect();
        sqlx::query(
            "UPDATE gc_accounts SET erased = did IN (SELECT did FROM erasures) \
             AND did NOT IN (SELECT value FROM json_each(?1)) \
             WHERE erased != (did IN (SELECT did FROM erasures) \
             AND did NOT IN (SELECT value FROM json_each(?1)))",
        )
        .bind(serde_json::to_string(&members).map_err(|_| corrupt("did"))?)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn accounts(&self) -> Result<Vec<Account>, SessionsError> {
        let rows = sqlx::query(
            "SELECT id, did, rev, read_since, state, gone_since, reason, may_push, erased, released, \
             accepted FROM gc_accounts \
             ORDER BY id",
        )
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.iter().map(account).collect()
    }

    async fn account(&self, did: &Did) -> Result<Option<Account>, SessionsError> {
        let row = sqlx::query(
            "SELECT id, did, rev, read_since, state, gone_since, reason, may_push, erased, released, \
             accepted FROM gc_accounts \
             WHERE did = ?",
        )
        .bind(did.as_str())
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)?;
        row.as_ref().map(account).transpose()
    }

    async fn account_outcome(
        &self,
        id: i64,
        state: AccountState,
        rev: Option<(&Tid, u64)>,
        gone_since: Option<u64>,
        reason: Option<&str>,
    ) -> Result<(), SessionsError> {
        sqlx::query(
            "UPDATE gc_accounts SET state = ?2, rev = COALESCE(?3, rev), read_since = COALESCE(?4, read_since), \
             gone_since = ?5, reason = ?6, accepted = CASE WHEN ?3 IS NULL THEN accepted ELSE 0 END WHERE id = ?1",
        )
        .bind(id)
        .bind(state_text(state))
        .bind(rev.map(|(rev, _)| rev.to_string()))
        .bind(rev.map(|(_, since)| time(since)))
        .bind(gone_since.map(time))
        .bind(reason)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn judge_account(&self, did: &Did, released: bool, accepted: bool) -> Result<bool, SessionsError> {
        let judging = sqlx::query("UPDATE gc_accounts SET released = ?, accepted = ? WHERE did = ?")
            .bind(released)
            .bind(accepted)
            .bind(did.as_str().to_owned());
        let judged = self.database.execute_durably(judging).await.map_err(failed)?;
        Ok(judged.rows_affected() > 0)
    }

    async fn manifests(&self, account: i64) -> Result<HashMap<String, KnownManifest>, SessionsError> {
        let rows: Vec<(String, bool, String)> =
            sqlx::query_as("SELECT rkey, complete, repository FROM gc_manifests WHERE account = ?")
                .bind(account)
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        let known = |(rkey, is_complete, repository)| {
            let known = KnownManifest {
                is_complete,
                repository,
            };
            (rkey, known)
        };
        Ok(rows.into_iter().map(known).collect())
    }

    async fn set_repositories(&self, account: i64, said: &[(String, String)]) -> Result<(), SessionsError> {
        sqlx::query(
            "UPDATE gc_manifests SET repository = said.repository \
             FROM (SELECT value ->> 0 AS rkey, value ->> 1 AS repository FROM json_each(?1)) AS said \
             WHERE account = ?2 AND gc_manifests.rkey = said.rkey",
        )
        .bind(serde_json::to_string(said).map_err(|_| corrupt("repository"))?)
        .bind(account)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn add_names(
        &self,
        account: i64,
        rkey: &str,
        repository: &str,
        digests: &[Digest],
        complete: bool,
    ) -> Result<(), SessionsError> {
        let mut step = self.database.writer().begin().await.map_err(failed)?;
        let manifest: i64 = sqlx::query_scalar(
            "INSERT INTO gc_manifests (account, rkey, repository, complete) VALUES (?, ?, ?, ?) \
             ON CONFLICT (account, rkey) DO UPDATE SET complete = complete OR excluded.complete, \
             repository = CASE WHEN excluded.complete OR repository = '' THEN excluded.repository ELSE repository END \
             RETURNING id",
        )
        .bind(account)
        .bind(rkey)
        .bind(repository)
        .bind(complete)
        .fetch_one(&mut *step)
        .await
        .map_err(failed)?;
        sqlx::query(
            "INSERT OR IGNORE INTO gc_names (digest, manifest) SELECT unhex(value), ?2 FROM json_each(?1)",
        )
        .bind(short_json_of(digests))
        .bind(manifest)
        .execute(&mut *step)
        .await
        .map_err(failed)?;
        step.commit().await.map_err(failed)
    }

    async fn drop_manifest(&self, account: i64, did: &Did, rkey: &str) -> Result<(), SessionsError> {
        let mut step = self.database.writer().begin().await.map_err(failed)?;
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT hex(digest) FROM gc_names WHERE manifest = \
             (SELECT id FROM gc_manifests WHERE account = ? AND rkey = ?)",
        )
        .bind(account)
        .bind(rkey)
        .fetch_all(&mut *step)
        .await
        .map_err(failed)?;
        let names: Vec<Digest> = names
            .iter()
            .map(|digits| from_short(digits))
            .collect::<Result<_, _>>()?;
        sqlx::query(
            "INSERT INTO gc_former (digest, did) SELECT value, ?2 FROM json_each(?1) WHERE true \
             ON CONFLICT (digest) DO UPDATE SET did = excluded.did",
        )
        .bind(json_of(&names))
        .bind(did.as_str())
        .execute(&mut *step)
        .await
        .map_err(failed)?;
        // Its names go with it.
        sqlx::query("DELETE FROM gc_manifests WHERE account = ? AND rkey = ?")
            .bind(account)
            .bind(rkey)
            .execute(&mut *step)
            .await
            .map_err(failed)?;
        step.commit().await.map_err(failed)
    }

    async fn named(&self, digests: &[Digest]) -> Result<HashSet<Digest>, SessionsError> {
        let named: Vec<String> = sqlx::query_scalar(
            "SELECT hex(digest) FROM (SELECT unhex(value) AS digest FROM json_each(?)) AS wanted \
             WHERE EXISTS (SELECT 1 FROM gc_names JOIN gc_manifests ON gc_manifests.id = manifest \
             JOIN gc_accounts ON gc_accounts.id = account \
             WHERE gc_names.digest = wanted.digest AND NOT released AND NOT erased)",
        )
        .bind(short_json_of(digests))
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        named.iter().map(|digits| from_short(digits)).collect()
    }

    async fn uploaded(&self, digests: &[Digest]) -> Result<HashSet<Digest>, SessionsError> {
        let rows = sqlx::query(
            "SELECT digest FROM uploads WHERE digest IN (SELECT value FROM json_each(?1)) \
             UNION SELECT digest FROM promises WHERE digest IN (SELECT value FROM json_each(?1))",
        )
        .bind(json_of(digests))
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.iter().map(digest).collect()
    }

    async fn former_owners(&self, digests: &[Digest]) -> Result<HashMap<Digest, Did>, SessionsError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT digest, did FROM gc_former WHERE digest IN (SELECT value FROM json_each(?))",
        )
        .bind(json_of(digests))
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        let owner = |(digest, did): (String, String)| {
            Ok((
                digest.parse().map_err(|_| corrupt("digest"))?,
                did.parse().map_err(|_| corrupt("did"))?,
            ))
        };
        rows.into_iter().map(owner).collect()
    }

    async fn naming_manifest(
        &self,
        did: &Did,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<String>, SessionsError> {
        sqlx::query_scalar(
            "SELECT rkey FROM gc_names JOIN gc_manifests ON id = manifest \
             WHERE digest = (SELECT unhex(value) FROM json_each(?1)) \
             AND account = (SELECT id FROM gc_accounts WHERE did = ?2) AND repository = ?3 LIMIT 1",
        )
        .bind(short_json_of(std::slice::from_ref(digest)))
        .bind(did.as_str())
        .bind(repository)
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)
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

    async fn unlink(&self, did: &Did, repository: &str, digest: &Digest) -> Result<(), SessionsError> {
        let unlinking = sqlx::query(
            "INSERT INTO unlinked (did, repository, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(did.as_str().to_owned())
        .bind(repository.to_owned())
        .bind(digest.to_string());
        self.database.execute_durably(unlinking).await.map_err(failed)?;
        Ok(())
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
