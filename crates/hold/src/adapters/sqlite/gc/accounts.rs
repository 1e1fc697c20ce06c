//! Accounts, and what their manifests name.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Tid};
use atcr_oci::Digest;

use super::super::digests::{digest, failed, from_short, json_of, short_json_of, time};
use super::SqliteGc;
use super::rows::{account, corrupt, state_text};
use crate::blobs::SessionsError;
use crate::gc::ports::{Account, AccountState, AccountTable, KnownManifest};

#[async_trait]
impl AccountTable for SqliteGc {
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
            "INSERT INTO gc_accounts (did, state, may_push, came_again) \
             SELECT value, 'new', 1, 1 FROM json_each(?1) WHERE true \
             ON CONFLICT (did) DO UPDATE SET may_push = 1, left_since = NULL, released = released AND NOT ?2, \
             erased = 0, came_again = 1",
        )
        .bind(serde_json::to_string(&dids).map_err(|_| corrupt("did"))?)
        .bind(anew);
        self.database.execute_durably(noting).await.map_err(failed)?;
        Ok(())
    }

    async fn mark_pushed(&self, did: &Did) -> Result<bool, SessionsError> {
        // Mostly of strangers, whom a reader tells apart without the writer.
        let Some(account) = self.account(did).await? else {
            return Ok(false);
        };
        if account.pushed {
            return Ok(true);
        }
        let marking = sqlx::query("UPDATE gc_accounts SET pushed = 1 WHERE id = ?").bind(account.id);
        self.database.execute_durably(marking).await.map_err(failed)?;
        Ok(true)
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
            "UPDATE gc_accounts SET erased = NOT came_again \
             AND did IN (SELECT did FROM erasures) AND did NOT IN (SELECT value FROM json_each(?1)) \
             WHERE erased != (NOT came_again \
             AND did IN (SELECT did FROM erasures) AND did NOT IN (SELECT value FROM json_each(?1)))",
        )
        .bind(serde_json::to_string(&members).map_err(|_| corrupt("did"))?)
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn accounts(&self) -> Result<Vec<Account>, SessionsError> {
        let rows = sqlx::query(
            "SELECT id, did, rev, read_since, state, gone_since, reason, may_push, pushed, erased, released, \
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
            "SELECT id, did, rev, read_since, state, gone_since, reason, may_push, pushed, erased, released, \
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
        rev: Option<&Tid>,
        read_since: Option<u64>,
        gone_since: Option<u64>,
        reason: Option<&str>,
    ) -> Result<(), SessionsError> {
        sqlx::query(
            "UPDATE gc_accounts SET state = ?2, rev = COALESCE(?3, rev), read_since = COALESCE(?4, read_since), \
             gone_since = ?5, reason = ?6, accepted = CASE WHEN ?3 IS NULL THEN accepted ELSE 0 END WHERE id = ?1",
        )
        .bind(id)
        .bind(state_text(state))
        .bind(rev.map(Tid::to_string))
        .bind(read_since.map(time))
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
        let rows: Vec<(String, Option<String>, String)> =
            sqlx::query_as("SELECT rkey, record, repository FROM gc_manifests WHERE account = ?")
                .bind(account)
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        let known = |(rkey, record, repository): (_, Option<String>, _)| {
            let record = record.map(|record| record.parse().map_err(|_| corrupt("record")));
            let record = record.transpose()?;
            Ok((rkey, KnownManifest { record, repository }))
        };
        rows.into_iter().map(known).collect()
    }

    async fn count_names(&self, account: i64) -> Result<u64, SessionsError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM gc_names WHERE manifest IN (SELECT id FROM gc_manifests WHERE account = ?)",
        )
        .bind(account)
        .fetch_one(self.database.readers())
        .await
        .map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
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
        record: Option<&Digest>,
    ) -> Result<(), SessionsError> {
        let mut step = self.database.writer().begin().await.map_err(failed)?;
        let manifest: i64 = sqlx::query_scalar(
            "INSERT INTO gc_manifests (account, rkey, repository, record) VALUES (?, ?, ?, ?) \
             ON CONFLICT (account, rkey) DO UPDATE SET record = COALESCE(excluded.record, record), \
             erased = erased AND excluded.record IS NOT NULL AND (record IS NULL OR record = excluded.record), \
             repository = CASE WHEN excluded.record IS NOT NULL OR repository = '' THEN excluded.repository \
             ELSE repository END \
             RETURNING id",
        )
        .bind(account)
        .bind(rkey)
        .bind(repository)
        .bind(record.map(Digest::as_str))
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
        if record.is_none() {
            // Told of by the hold's own: it was pushed after an erasure of before.
            sqlx::query("UPDATE gc_accounts SET erased = 0, came_again = 1 WHERE id = ? AND NOT came_again")
                .bind(account)
                .execute(&mut *step)
                .await
                .map_err(failed)?;
        }
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
             WHERE gc_names.digest = wanted.digest AND NOT released AND NOT gc_accounts.erased \
             AND NOT gc_manifests.erased)",
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
             AND account = (SELECT id FROM gc_accounts WHERE did = ?2) AND repository = ?3 AND NOT erased LIMIT 1",
        )
        .bind(short_json_of(std::slice::from_ref(digest)))
        .bind(did.as_str())
        .bind(repository)
        .fetch_optional(self.database.readers())
        .await
        .map_err(failed)
    }
}
