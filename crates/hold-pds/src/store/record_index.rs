//! Records by collection and key.

use sqlx::Row as _;

use super::blocks::number;
use super::{Index, Location, to_sql};
use crate::error::RepoError;

/// A record's key and where its content is.
#[derive(Clone, Debug)]
pub(crate) struct RecordRow {
    pub(crate) rkey: String,
    pub(crate) location: Location,
}

impl Index {
    pub(crate) async fn record(&self, collection: &str, rkey: &str) -> Result<Option<Location>, RepoError> {
        let row = sqlx::query(
            "SELECT cid, position, length, seq FROM records JOIN blocks USING (cid) WHERE collection = ? AND rkey = ?",
        )
        .bind(collection)
        .bind(rkey)
        .fetch_optional(self.readers())
        .await?;
        row.as_ref().map(Location::from_row).transpose()
    }

    /// At most `limit` records from after the key `after`, by key, growing or falling.
    pub(crate) async fn records(
        &self,
        collection: &str,
        limit: usize,
        after: Option<&str>,
        descending: bool,
    ) -> Result<Vec<RecordRow>, RepoError> {
        // Both walk the primary key; CROSS JOIN keeps SQLite from beginning with the blocks.
        let query = if descending {
            sqlx::query(
                "SELECT rkey, cid, position, length, seq FROM records CROSS JOIN blocks USING (cid)
                 WHERE collection = ?1 AND (?2 IS NULL OR rkey < ?2) ORDER BY rkey DESC LIMIT ?3",
            )
        } else {
            sqlx::query(
                "SELECT rkey, cid, position, length, seq FROM records CROSS JOIN blocks USING (cid)
                 WHERE collection = ?1 AND rkey > coalesce(?2, '') ORDER BY rkey LIMIT ?3",
            )
        };
        let rows = query
            .bind(collection)
            .bind(after)
            .bind(to_sql(limit as u64))
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(RecordRow {
                    rkey: row.try_get("rkey")?,
                    location: Location::from_row(row)?,
                })
            })
            .collect()
    }

    /// Steps from one collection to the next, whatever they hold.
    pub(crate) async fn collections(&self) -> Result<Vec<String>, RepoError> {
        Ok(sqlx::query_scalar(
            "WITH RECURSIVE found (collection) AS (
                 SELECT min(collection) FROM records
                 UNION ALL
                 SELECT (SELECT min(collection) FROM records WHERE records.collection > found.collection)
                 FROM found WHERE found.collection IS NOT NULL
             )
             SELECT collection FROM found WHERE collection IS NOT NULL",
        )
        .fetch_all(self.readers())
        .await?)
    }

    /// How many records there are, and as of which commit.
    pub(crate) async fn record_count(&self) -> Result<(u64, u64), RepoError> {
        let row =
            sqlx::query("SELECT (SELECT count(*) FROM records) AS found, (SELECT seq FROM state) AS seq")
                .fetch_one(self.readers())
                .await?;
        Ok((number(&row, "records", "found")?, number(&row, "state", "seq")?))
    }
}
