//! Reading records.

use atcr_atproto::syntax::{AtUri, Cid};
use serde_json::Value;

use super::HoldRepo;
use crate::error::RepoError;
use crate::store::hold_index::decode_record;
use crate::store::record_index::RecordRow;

/// Pages are no longer, whatever was asked for.
const MAX_PAGE: usize = 1000;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// `at://<did>/<collection>/<rkey>`.
    pub uri: AtUri,
    /// The CID of its DAG-CBOR.
    pub cid: Cid,
    /// As JSON, with `$link` and `$bytes`.
    pub value: Value,
}

/// Some records of a collection, in the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordPage {
    /// The records.
    pub records: Vec<StoredRecord>,
    /// Asks for the next page; `None` at the end.
    pub cursor: Option<String>,
}

impl HoldRepo {
    /// One record.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn get_record(&self, collection: &str, rkey: &str) -> Result<Option<StoredRecord>, RepoError> {
        let Some(location) = self.inner.store.index.record(collection, rkey).await? else {
            return Ok(None);
        };
        let row = RecordRow {
            rkey: rkey.to_owned(),
            location,
        };
        Ok(self.read_records(collection, vec![row]).await?.pop())
    }

    /// A page of at most `limit` records (no more than 1000), from after `cursor`, which is the last key of the page
    /// before. By falling keys, so that of TIDs the newest come first, as the reference PDS lists them; by growing keys
    /// when `reverse`.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn list_records(
        &self,
        collection: &str,
        limit: usize,
        cursor: Option<&str>,
        reverse: bool,
    ) -> Result<RecordPage, RepoError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut rows = self
            .inner
            .store
            .index
            .records(collection, limit + 1, cursor, !reverse)
            .await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let cursor = rows.last().filter(|_| has_more).map(|row| row.rkey.clone());
        Ok(RecordPage {
            records: self.read_records(collection, rows).await?,
            cursor,
        })
    }

    /// The collections that have records, in order.
    ///
    /// # Errors
    /// The disk's or the index's.
    pub async fn collections(&self) -> Result<Vec<String>, RepoError> {
        self.inner.store.index.collections().await
    }

    async fn read_records(
        &self,
        collection: &str,
        rows: Vec<RecordRow>,
    ) -> Result<Vec<StoredRecord>, RepoError> {
        let locations = rows.iter().map(|row| row.location).collect();
        let blocks = self.inner.store.log.read_blocks(locations).await?;
        let mut records = Vec::with_capacity(rows.len());
        for (row, block) in rows.into_iter().zip(blocks) {
            records.push(StoredRecord {
                uri: format!("at://{}/{collection}/{}", self.inner.did, row.rkey).parse()?,
                cid: block.cid,
                value: decode_record(&block.bytes)?,
            });
        }
        Ok(records)
    }
}
