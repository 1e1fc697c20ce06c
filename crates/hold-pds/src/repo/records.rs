//! Reading records.

use atcr_atproto::data_model::ipld_to_json;
use atcr_atproto::syntax::{AtUri, Cid, Did};
use atcr_repo::mst::range;
use serde_json::Value;

use super::HoldRepo;
use crate::blocks::View;
use crate::error::RepoError;
use crate::offload::blocking;

/// The longest page, even if a caller asks for more.
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
    /// The disk's.
    pub async fn get_record(&self, collection: &str, rkey: &str) -> Result<Option<StoredRecord>, RepoError> {
        let (view, did) = (self.view(), self.inner.did.clone());
        let path = format!("{collection}/{rkey}");
        blocking(move || match view.record(&path)? {
            None => Ok(None),
            Some(cid) => read_record(&view, &did, &path, cid).map(Some),
        })
        .await
    }

    /// A page of at most `limit` records (no more than 1000), from after `cursor`, which is the last key of the page
    /// before. By falling keys, so that of TIDs the newest come first, as the reference PDS lists them; by growing keys
    /// when `reverse`.
    ///
    /// # Errors
    /// The disk's.
    pub async fn list_records(
        &self,
        collection: &str,
        limit: usize,
        cursor: Option<&str>,
        reverse: bool,
    ) -> Result<RecordPage, RepoError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let (view, did) = (self.view(), self.inner.did.clone());
        let prefix = format!("{collection}/");
        let start = match cursor {
            Some(cursor) => format!("{prefix}{cursor}"),
            None if reverse => prefix.clone(),
            // `0` comes right after `/`.
            None => format!("{collection}0"),
        };
        blocking(move || {
            let tree = view.tree()?;
            let list = if reverse {
                range::ascending::<View>
            } else {
                range::descending::<View>
            };
            let mut keys = list(&tree, &view, &start, Some(&prefix), limit + 1)?;
            let has_more = keys.len() > limit;
            keys.truncate(limit);
            let last = keys.last().filter(|_| has_more);
            let cursor = last.and_then(|(path, _)| Some(path.strip_prefix(&prefix)?.to_owned()));
            let records = keys
                .iter()
                .map(|(path, cid)| read_record(&view, &did, path, *cid));
            Ok(RecordPage {
                records: records.collect::<Result<_, _>>()?,
                cursor,
            })
        })
        .await
    }

    /// The collections that have records, in order.
    ///
    /// # Errors
    /// The disk's.
    pub async fn collections(&self) -> Result<Vec<String>, RepoError> {
        let view = self.view();
        blocking(move || view.collections()).await
    }
}

fn read_record(view: &View, did: &Did, path: &str, cid: Cid) -> Result<StoredRecord, RepoError> {
    Ok(StoredRecord {
        uri: format!("at://{did}/{path}").parse()?,
        cid,
        value: decode_record(&view.block(&cid)?)?,
    })
}

/// A record's JSON, from its DAG-CBOR.
pub(super) fn decode_record(content: &[u8]) -> Result<Value, RepoError> {
    let value = serde_ipld_dagcbor::from_slice(content)
        .map_err(|_| RepoError::corrupt("a record is not DAG-CBOR"))?;
    ipld_to_json(&value).map_err(|error| RepoError::corrupt(format!("a record: {error}")))
}
