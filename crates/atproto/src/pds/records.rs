//! Records: read, list, write.

use std::sync::Arc;

use atrium_api::com::atproto::repo::{apply_writes, get_record, list_records};
use atrium_api::com::atproto::sync::{get_latest_commit, get_record as sync_get_record};
use atrium_api::types::{Unknown, string};
use bytes::Bytes;
use http::{Method, header};
use serde::Deserialize;
use serde_json::Value;

use super::{CommitMeta, ListRecords, PdsAuth, PdsClient, PdsError, RecordEntry, RecordPage, Write};
use crate::bounds::{MAX_CURSOR_BYTES, MAX_PAGE_RECORDS};
use crate::egress::{Limits, SharePermit};
use crate::lexicon::nsid;
use crate::syntax::{Cid, Did, RecordKey, Tid};

/// A record in an answer. Not atrium's type: that one refuses a whole page for one value outside the data model.
#[derive(Deserialize)]
struct RecordJson {
    uri: String,
    cid: Option<String>,
    value: Value,
}

#[derive(Deserialize)]
struct RecordsJson {
    records: Vec<RecordJson>,
    cursor: Option<String>,
}

/// Servers from before 2024 have no error name for this case.
fn is_missing_record(error: &PdsError) -> bool {
    let text = error
        .as_xrpc()
        .and_then(|error| error.message.as_deref())
        .unwrap_or_default();
    error.is_xrpc("RecordNotFound")
        || (error.is_xrpc("InvalidRequest") && text.starts_with("Could not locate record"))
}

impl PdsClient {
    /// The record of `did` in `collection` under `rkey`; `None` if there is none.
    ///
    /// # Errors
    /// `Xrpc` from a server that does not host the account (`RepoNotFound`; `UpstreamFailure` or other names from one that
    /// forwards the request).
    pub async fn get_record(
        &self,
        did: &Did,
        collection: &str,
        rkey: &RecordKey,
    ) -> Result<Option<RecordEntry>, PdsError> {
        let parameters = get_record::ParametersData {
            cid: None,
            collection: self.collection(collection)?,
            repo: string::AtIdentifier::Did(self.did(did)?),
            rkey: self.rkey(rkey)?,
        };
        let request = self
            .request(Method::GET, nsid::REPO_GET_RECORD, PdsAuth::None)?
            .query(&parameters);
        match self.send(request, PdsAuth::None).await {
            Ok(answer) => self.entry(self.decode(&answer)?, answer.held()).map(Some),
            Err(error) if is_missing_record(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The proof of the record of `did` in `collection` under `rkey`, or of its absence, as a CAR of at most `max` bytes; nothing in it is
    /// checked. `None` if the server says without a proof that there is no such record.
    ///
    /// # Errors
    /// `TooLarge` for a longer proof; `Xrpc` from a server that does not host the account.
    ///
    /// # Spec
    /// `com.atproto.sync.getRecord`.
    pub async fn record_proof(
        &self,
        did: &Did,
        collection: &str,
        rkey: &RecordKey,
        max: usize,
    ) -> Result<Option<Bytes>, PdsError> {
        let parameters = sync_get_record::ParametersData {
            collection: self.collection(collection)?,
            did: self.did(did)?,
            rkey: self.rkey(rkey)?,
        };
        let request = self
            .request(Method::GET, nsid::SYNC_GET_RECORD, PdsAuth::None)?
            .query(&parameters)
            .header(header::ACCEPT, "application/vnd.ipld.car");
        let limits = Limits {
            max_bytes: max,
            timeout: self.timeout,
        };
        let answer = self.egress.send_capped(request, limits).await;
        let answer = answer.map_err(|error| PdsError::from_egress(error, &self.host()))?;
        match self.refusal(answer.status, &answer.headers, &answer.bytes) {
            None => Ok(Some(answer.bytes)),
            Some(error) if is_missing_record(&error) => Ok(None),
            Some(error) => Err(error),
        }
    }

    /// One page of the records of `did` in `collection`. Entries whose address is malformed are left out.
    ///
    /// # Errors
    /// `TooLarge` for a page that is too long or too dense: ask for fewer records at a time. `Malformed` for one of more records than
    /// the method lets a caller ask for.
    pub async fn list_records(
        &self,
        did: &Did,
        collection: &str,
        page: ListRecords<'_>,
    ) -> Result<RecordPage, PdsError> {
        let limit = page
            .limit
            .map(|limit| limit.try_into().map_err(|_| self.malformed("limit")))
            .transpose()?;
        let parameters = list_records::ParametersData {
            collection: self.collection(collection)?,
            cursor: page.cursor.map(str::to_owned),
            limit,
            repo: string::AtIdentifier::Did(self.did(did)?),
            reverse: page.reverse.then_some(true),
        };
        let request = self
            .request(Method::GET, nsid::REPO_LIST_RECORDS, PdsAuth::None)?
            .query(&parameters);
        let answer = self.send(request, PdsAuth::None).await?;
        let size_bytes = answer.bytes.len() as u64;
        let output: RecordsJson = self.decode(&answer)?;
        if output.records.len() > MAX_PAGE_RECORDS {
            return Err(self.malformed("page: it has more records than may be asked for"));
        }
        if output
            .cursor
            .as_ref()
            .is_some_and(|cursor| cursor.len() > MAX_CURSOR_BYTES)
        {
            return Err(self.malformed("cursor"));
        }
        let records = output
            .records
            .into_iter()
            .filter_map(|record| self.entry(record, answer.held()).ok())
            .collect();
        Ok(RecordPage {
            records,
            cursor: output.cursor,
            size_bytes,
        })
    }

    /// Makes all `writes` to the repository of `did` in one commit, or none of them. Records are not checked against
    /// lexicons by the server, as the keys of manifests are not of the declared kind.
    ///
    /// With `swap_commit` the repository must still be at that commit.
    ///
    /// # Errors
    /// `Xrpc` `InvalidSwap` if the repository has moved on; [`PdsError::is_unauthorized`] if `auth` is no longer good.
    ///
    /// # Cancel safety
    /// Dropped after sending, the commit may or may not have been made.
    pub async fn apply_writes(
        &self,
        auth: PdsAuth<'_>,
        did: &Did,
        writes: Vec<Write>,
        swap_commit: Option<Cid>,
    ) -> Result<CommitMeta, PdsError> {
        let writes = writes
            .into_iter()
            .map(|write| self.write_item(write))
            .collect::<Result<_, _>>()?;
        let input = apply_writes::InputData {
            repo: string::AtIdentifier::Did(self.did(did)?),
            swap_commit: swap_commit.map(string::Cid::new),
            validate: Some(false),
            writes,
        };
        let output: apply_writes::OutputData = self.procedure(nsid::REPO_APPLY_WRITES, &input, auth).await?;
        let commit = output.commit.ok_or_else(|| self.malformed("commit"))?;
        self.commit_meta(*commit.cid.as_ref(), commit.rev.as_str())
    }

    /// The newest commit of the repository of `did`.
    pub async fn get_latest_commit(&self, did: &Did) -> Result<CommitMeta, PdsError> {
        let parameters = get_latest_commit::ParametersData { did: self.did(did)? };
        let output: get_latest_commit::OutputData = self
            .query(nsid::SYNC_GET_LATEST_COMMIT, &parameters, PdsAuth::None)
            .await?;
        self.commit_meta(*output.cid.as_ref(), output.rev.as_str())
    }

    fn commit_meta(&self, cid: Cid, rev: &str) -> Result<CommitMeta, PdsError> {
        let rev: Tid = rev.parse().map_err(|_| self.malformed("revision"))?;
        Ok(CommitMeta { cid, rev })
    }

    fn entry(&self, record: RecordJson, held: Option<Arc<SharePermit>>) -> Result<RecordEntry, PdsError> {
        let cid = record
            .cid
            .map(|cid| cid.parse().map_err(|_| self.malformed("CID")))
            .transpose()?;
        Ok(RecordEntry {
            uri: record.uri.parse().map_err(|_| self.malformed("address"))?,
            cid,
            value: record.value,
            held,
        })
    }

    fn write_item(&self, write: Write) -> Result<apply_writes::InputWritesItem, PdsError> {
        use apply_writes::{CreateData, DeleteData, InputWritesItem, UpdateData};
        Ok(match write {
            Write::Create {
                collection,
                rkey,
                value,
            } => {
                let data = CreateData {
                    collection: self.collection(&collection)?,
                    rkey: rkey.map(|rkey| self.rkey(&rkey)).transpose()?,
                    value: self.record_value(value)?,
                };
                InputWritesItem::Create(Box::new(data.into()))
            }
            Write::Update {
                collection,
                rkey,
                value,
            } => {
                let data = UpdateData {
                    collection: self.collection(&collection)?,
                    rkey: self.rkey(&rkey)?,
                    value: self.record_value(value)?,
                };
                InputWritesItem::Update(Box::new(data.into()))
            }
            Write::Delete { collection, rkey } => {
                let data = DeleteData {
                    collection: self.collection(&collection)?,
                    rkey: self.rkey(&rkey)?,
                };
                InputWritesItem::Delete(Box::new(data.into()))
            }
        })
    }

    fn record_value(&self, value: Value) -> Result<Unknown, PdsError> {
        serde_json::from_value(value).map_err(|_| self.malformed("record"))
    }

    fn collection(&self, collection: &str) -> Result<string::Nsid, PdsError> {
        collection.parse().map_err(|_| self.malformed("collection name"))
    }

    pub(super) fn did(&self, did: &Did) -> Result<string::Did, PdsError> {
        did.as_str().parse().map_err(|_| self.malformed("DID"))
    }

    fn rkey(&self, rkey: &RecordKey) -> Result<string::RecordKey, PdsError> {
        rkey.as_str().parse().map_err(|_| self.malformed("record key"))
    }
}
