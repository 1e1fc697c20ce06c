//! What configurations of images say, and which of them cards wait for.

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::fact::{ConfigFact, DESCRIPTION, LICENCES, TITLE};
use atcr_index::ports::{ConfigLog, WantedConfig};
use atcr_index::row;
use atcr_index::row::Row;
use atcr_index::stored::{self, digest_bytes, micros};
use atcr_index::turn::{self, ConfigTurn};
use atcr_oci::Digest;
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use crate::rows::{found, set};
use crate::write::refresh_cards;
use crate::{SqliteIndex, failed};

/// Cards that one transaction makes anew.
const CARDS: u32 = 500;

/// Configurations that were never tried, and those that could not be read.
const FIRST: &str = "attempts = 0";
const AGAIN: &str = "attempts > 0";

/// The hold of `repository r` says that it is private.
const PRIVATE: &str = "SELECT 1 FROM account n CROSS JOIN captain c ON c.account = n.id \
     WHERE n.did = r.config_hold AND c.is_public = 0";

/// A card shows what `config k` says.
const SHOWN: &str = "SELECT 1 FROM repository r WHERE r.config = k.digest AND NOT EXISTS \
     (SELECT 1 FROM account n CROSS JOIN captain c ON c.account = n.id \
      WHERE n.did = r.config_hold AND c.is_public = 0)";

#[async_trait]
impl ConfigLog for SqliteIndex {
    async fn wanted_configs(
        &self,
        turn: ConfigTurn,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<(Vec<WantedConfig>, ConfigTurn), IndexError> {
        let limit = limit as usize;
        let (mut wanted, first) = turn::taken(self.due(FIRST, turn.first, now).await?, limit)?;
        let (failed_before, again) = turn::taken(self.due(AGAIN, turn.again, now).await?, limit.div_ceil(4))?;
        wanted.extend(failed_before);
        Ok((wanted, ConfigTurn { first, again }))
    }

    async fn configured(
        &self,
        digest: &Digest,
        says: &ConfigFact,
        now: DateTime<Utc>,
    ) -> Result<(), IndexError> {
        let labels = serde_json::to_string(&says.labels).map_err(|_| IndexError::Corrupt("labels"))?;
        loop {
            let mut transaction = self.writing().await?;
            sqlx::query(
                "INSERT INTO config (digest, title, summary, licence, labels, platform) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (digest) DO NOTHING",
            )
            .bind(digest_bytes(digest))
            .bind(says.line(TITLE))
            .bind(says.line(DESCRIPTION))
            .bind(says.line(LICENCES))
            .bind(&labels)
            .bind(&says.platform)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            let waiting: Vec<i64> = sqlx::query_scalar(
                "DELETE FROM config_wanted WHERE repository IN \
                     (SELECT repository FROM config_wanted WHERE digest = ?1 ORDER BY repository LIMIT ?2) \
                 RETURNING repository",
            )
            .bind(digest_bytes(digest))
            .bind(i64::from(CARDS))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
            let is_last = waiting.len() < CARDS as usize;
            refresh_cards(&mut transaction, waiting, now)
                .await
                .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn put_off_config(&self, wanted: &WantedConfig, due: DateTime<Utc>) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE config_wanted SET due = ?1, attempts = attempts + 1 WHERE repository = ?2 AND digest = ?3",
        )
        .bind(micros(due))
        .bind(wanted.repository.0)
        .bind(digest_bytes(&wanted.digest))
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn forget_configs(&self, after: Option<&Digest>, limit: u32) -> Result<Option<Digest>, IndexError> {
        let looked_at: Vec<(Vec<u8>, bool)> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT k.digest, NOT EXISTS ({SHOWN}) FROM config k WHERE k.digest > ?1 ORDER BY k.digest LIMIT ?2"
        )))
        .bind(after.map(digest_bytes).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        let last = looked_at
            .last()
            .map(|(digest, _)| stored::digest(digest))
            .transpose()?;
        let gone: Vec<Row> = looked_at
            .into_iter()
            .filter(|(_, is_gone)| *is_gone)
            .map(|(digest, _)| row![digest])
            .collect();
        if !gone.is_empty() {
            let mut transaction = self.writing().await?;
            let forgotten: Vec<(Vec<u8>,)> = found(
                &mut transaction,
                &format!(
                    "DELETE FROM config AS k WHERE k.digest IN (SELECT unhex(value) FROM json_each(?)) \
                     AND NOT EXISTS ({SHOWN}) RETURNING digest"
                ),
                gone,
            )
            .await
            .map_err(failed)?;
            let forgotten = forgotten.into_iter().map(|(digest,)| row![digest]).collect();
            set(
                &mut transaction,
                "UPDATE repository SET config = x'00' WHERE config IN (SELECT unhex(value) FROM json_each(?))",
                forgotten,
            )
            .await
            .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
        }
        Ok(last)
    }

    async fn renew_cards(&self, limit: u32, now: DateTime<Utc>) -> Result<u64, IndexError> {
        let stale = "SELECT id FROM repository WHERE config = x'00' LIMIT ?1";
        let is_stale: Option<i64> = sqlx::query_scalar(stale)
            .bind(1)
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        if is_stale.is_none() {
            return Ok(0);
        }
        let mut transaction = self.writing().await?;
        let cards: Vec<i64> = sqlx::query_scalar(stale)
            .bind(i64::from(limit))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        let renewed = cards.len() as u64;
        refresh_cards(&mut transaction, cards, now)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(renewed)
    }
}

impl SqliteIndex {
    async fn writing(&self) -> Result<Transaction<'static, Sqlite>, IndexError> {
        let writer = self.database.writer();
        writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }

    /// What is due of `which`, a few of each account behind `after`, in the order of the accounts.
    async fn due(&self, which: &str, after: i64, now: DateTime<Utc>) -> Result<Vec<turn::Row>, IndexError> {
        let statement = format!(
            "WITH RECURSIVE turn (account, place) AS ( \
                 SELECT (SELECT min(w.account) FROM config_wanted w WHERE w.{which} AND w.account > ?1), 1 \
                 UNION ALL \
                 SELECT (SELECT min(w.account) FROM config_wanted w WHERE w.{which} AND w.account > t.account), t.place + 1 \
                 FROM turn t WHERE t.account IS NOT NULL AND t.place < ?2) \
             SELECT t.account, w.repository, a.did, r.name, w.digest, w.attempts, r.config_hold, EXISTS ({PRIVATE}) \
             FROM turn t LEFT JOIN config_wanted w ON w.repository IN ( \
                 SELECT x.repository FROM config_wanted x WHERE x.{which} AND x.account = t.account AND x.due <= ?3 \
                 ORDER BY x.due LIMIT ?4) \
             LEFT JOIN repository r ON r.id = w.repository LEFT JOIN account a ON a.id = r.account \
             WHERE t.account IS NOT NULL ORDER BY t.place, w.due"
        );
        sqlx::query_as(AssertSqlSafe(statement))
            .bind(after)
            .bind(turn::ACCOUNTS)
            .bind(micros(now))
            .bind(turn::OF_ACCOUNT)
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)
    }
}
