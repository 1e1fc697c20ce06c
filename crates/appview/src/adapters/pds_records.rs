//! Accounts' records over a PDS's XRPC methods: one by one, page by page, and committed.

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::egress::SharePermit;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::hold_legacy::HoldLegacyRecord;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::repo_page::RepoPageRecord;
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::lexicon::{BlobRef, Record};
use atcr_atproto::pds::PdsFailure;
use atcr_atproto::pds::{CommitMeta, ListRecords, PdsError, RecordEntry, Write};
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_auth::oauth::scopes::{FALLBACK_BLOB_TYPE, MANIFEST_BLOB_TYPES};
use atcr_auth::principal::Principal;
use atcr_registry::account::ports::{
    AccountRecords, AccountSettings, CommitOutcome, ListedCollection, ListingPosition, Located, RecordsPage,
};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::MANIFEST_LIMIT;
use atcr_registry::manifest::ports::ManifestStore;
use atcr_registry::manifest::record;
use atcr_sessions::Sessions;
use atcr_sessions::ports::Authorization;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::pds_client::{PdsClients, seen};
use crate::manage::ports::OwnRecords;

/// Records in a page, the most a PDS gives.
const PAGE: u8 = 100;

/// Pages read for the keys of one lot of records: a server may give fewer records than it is asked for, but not endlessly.
const MOST_KEY_PAGES: usize = 100;

/// Records in a page of a listing: fewer are asked for when more are longer than [`PAGE_BYTES`].
const PAGES: [u8; 4] = [PAGE, 20, 4, 1];

/// Longest page of a listing, in bytes: a record of the 1 MiB that a PDS takes, as JSON. Most pages have a third of it; parsed, a page
/// made to do harm takes thirty times its length in memory.
const PAGE_BYTES: usize = 1536 * 1024;

/// Bytes of manifests read for one page of a listing, for what their records leave out: some two dozen images of a thousand layers.
const COMPLETED_BYTES: u64 = 16 * 1024 * 1024;

/// Manifests read at once for one page: a server far away takes long for each, and they come one after the other otherwise.
const READ_AT_ONCE: usize = 6;

/// How long one of them waits for memory to be parsed in.
const PARSE_PATIENCE: Duration = Duration::from_secs(5);

/// Records at PDSes.
#[derive(Debug)]
pub struct PdsRecords {
    clients: PdsClients,
    sessions: Sessions,
}

impl PdsRecords {
    /// Reads through `clients`, and writes with the sessions in `sessions`.
    #[must_use]
    pub fn new(clients: PdsClients, sessions: Sessions) -> Self {
        Self { clients, sessions }
    }

    async fn find<R: Record>(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<R>, RegistryError> {
        let client = self.clients.of(owner)?;
        let call = client.get_record(&owner.did, R::NSID, rkey);
        let entry = seen("get_record", client.base(), call)
            .await
            .map_err(|error| PdsFailure::at(client.base(), error))?;
        Ok(entry
            .and_then(|entry| read(owner, entry))
            .map(|located| located.record))
    }

    /// A page of a collection, where the next one begins, its length in bytes, and whether records had to be passed over.
    async fn page_of<R: Record>(
        &self,
        owner: &ResolvedIdentity,
        cursor: Option<&str>,
    ) -> Result<CollectionPage<R>, RegistryError> {
        let client = self.clients.of(owner)?.with_max_answer(PAGE_BYTES);
        for limit in PAGES {
            let page = ListRecords {
                limit: Some(limit),
                cursor,
                reverse: false,
            };
            let call = client.list_records(&owner.did, R::NSID, page);
            let page = match seen("list_records", client.base(), call).await {
                Ok(page) => page,
                Err(PdsError::TooLarge { .. }) => continue,
                Err(error) => return Err(PdsFailure::at(client.base(), error).into()),
            };
            let is_empty = page.records.is_empty();
            return Ok(CollectionPage {
                records: page
                    .records
                    .into_iter()
                    .filter_map(|entry| read(owner, entry))
                    .collect(),
                // A server that gives a cursor with every page ends with an empty one.
                next: page
                    .cursor
                    .filter(|next| !is_empty && Some(next.as_str()) != cursor),
                is_cut: false,
                size_bytes: page.size_bytes,
            });
        }
        tracing::warn!(did = %owner.did, collection = R::NSID, "a record is too long to be listed; the records after it are not listed either");
        Ok(CollectionPage {
            records: Vec::new(),
            next: None,
            is_cut: true,
            size_bytes: 0,
        })
    }

    /// Puts into the records of `page` what they leave out of their manifests. Where the bytes cannot be had for good, a record stays as
    /// it is; beyond [`COMPLETED_BYTES`], after `until`, or once their server says nothing, the rest do, and the page counts as cut.
    async fn complete(
        &self,
        owner: &ResolvedIdentity,
        page: &mut CollectionPage<ManifestRecord>,
        until: Instant,
    ) -> Result<(), RegistryError> {
        let partial = page.records.iter().enumerate().filter_map(|(index, manifest)| {
            let blob = manifest.record.manifest_blob.as_ref().map(|blob| blob.cid);
            Some((index, blob.filter(|_| record::is_partial(&manifest.record))?))
        });
        let partial: Vec<(usize, Cid)> = partial.collect();
        let mut reads = stream::iter(partial)
            .map(async |(index, cid)| (index, self.read_blob(owner, &cid, MANIFEST_LIMIT).await))
            .buffered(READ_AT_ONCE);
        let mut read = 0;
        loop {
            let next = match tokio::time::timeout_at(until, reads.next()).await {
                Ok(next) if read < COMPLETED_BYTES => next,
                Ok(Some(_)) | Err(_) => {
                    page.is_cut = true;
                    break;
                }
                Ok(None) => None,
            };
            let Some((index, bytes)) = next else { break };
            let Some(manifest) = page.records.get_mut(index) else {
                continue;
            };
            match bytes {
                Ok(Some(bytes)) => {
                    read += bytes.len() as u64;
                    let _room = self.parse_room(owner, bytes.len()).await?;
                    restate(&mut manifest.record, &bytes);
                }
                // The time of one answer ends about when that of the page does: whichever is seen first.
                Err(RegistryError::Pds(PdsFailure::Timeout { .. })) => {
                    page.is_cut = true;
                    break;
                }
                Err(error) if !is_gap(&error) => return Err(error),
                Ok(None) | Err(_) => {
                    tracing::info!(
                        did = %owner.did,
                        rkey = manifest.rkey.as_str(),
                        "what a manifest names is not known: its bytes cannot be had"
                    );
                }
            }
        }
        drop(reads);
        page.size_bytes += read;
        Ok(())
    }

    /// Room for what is made of a manifest of `bytes`.
    async fn parse_room(&self, owner: &ResolvedIdentity, bytes: usize) -> Result<SharePermit, RegistryError> {
        let client = self.clients.of(owner)?;
        let host = client.base().host_str().unwrap_or_default();
        let room = client.egress().memory().parse(host, bytes, PARSE_PATIENCE).await;
        room.map_err(|_| RegistryError::TooManyRequests {
            retry_after: PARSE_PATIENCE,
        })
    }
}

/// Whether an error says no more than that the bytes of one manifest cannot be had.
fn is_gap(error: &RegistryError) -> bool {
    error.is_damaged()
        || matches!(
            error,
            RegistryError::Pds(PdsFailure::Failed { .. } | PdsFailure::Unavailable { .. })
        )
}

/// Puts into `record` what it leaves out of its manifest `bytes`, but for annotations: they are not indexed, and as long as their
/// writer likes.
fn restate(record: &mut ManifestRecord, bytes: &Bytes) {
    record::complete(record, bytes);
    let blobs = record.config.iter_mut().chain(&mut record.layers);
    blobs.for_each(|blob| blob.annotations.clear());
    record
        .manifests
        .iter_mut()
        .for_each(|child| child.annotations.clear());
}

struct CollectionPage<R> {
    records: Vec<Located<R>>,
    next: Option<String>,
    is_cut: bool,
    size_bytes: u64,
}

/// A record that has its type's form; anything else is a mistake of its writer and no reason to fail the rest.
pub(super) fn read<R: Record>(owner: &ResolvedIdentity, entry: RecordEntry) -> Option<Located<R>> {
    let rkey = entry.uri.rkey()?;
    match R::from_value(entry.value) {
        Ok(record) => Some(Located { rkey, record }),
        Err(error) => {
            tracing::debug!(did = %owner.did, rkey = rkey.as_str(), %error, "a record is passed over");
            None
        }
    }
}

/// The type under which a manifest's bytes are uploaded. A session by OAuth may upload those of the common types only; a manifest of
/// another type goes under one of them. Its own type is in its record.
fn blob_type<'a>(authorization: &Authorization, media_type: &'a str) -> &'a str {
    match authorization {
        Authorization::Dpop { .. } if !MANIFEST_BLOB_TYPES.contains(&media_type) => FALLBACK_BLOB_TYPE,
        Authorization::Dpop { .. } | Authorization::Bearer(_) => media_type,
    }
}

#[async_trait]
impl AccountRecords for PdsRecords {
    async fn head(&self, owner: &ResolvedIdentity) -> Result<Option<CommitMeta>, RegistryError> {
        let client = self.clients.of(owner)?;
        let call = client.get_latest_commit(&owner.did);
        match seen("get_latest_commit", client.base(), call).await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.is_xrpc("RepoNotFound") => Ok(None),
            Err(error) => Err(PdsFailure::at(client.base(), error).into()),
        }
    }

    #[tracing::instrument(name = "pds.account.list", skip_all, fields(did = %owner.did))]
    async fn list_page(
        &self,
        owner: &ResolvedIdentity,
        position: &ListingPosition,
        until: Instant,
    ) -> Result<RecordsPage, RegistryError> {
        let (collection, cursor) = (position.collection, position.cursor.as_deref());
        let go_on = |cursor: Option<String>| {
            cursor.map(|cursor| ListingPosition {
                collection,
                cursor: Some(cursor),
            })
        };
        Ok(match collection {
            ListedCollection::Tags => {
                let page = self.page_of(owner, cursor).await?;
                let manifests = ListingPosition {
                    collection: ListedCollection::Manifests,
                    cursor: None,
                };
                RecordsPage {
                    tags: page.records,
                    next: go_on(page.next).or(Some(manifests)),
                    is_cut: page.is_cut,
                    size_bytes: page.size_bytes,
                    ..RecordsPage::default()
                }
            }
            ListedCollection::Manifests => {
                let mut page = self.page_of(owner, cursor).await?;
                self.complete(owner, &mut page, until).await?;
                RecordsPage {
                    manifests: page.records,
                    next: go_on(page.next),
                    is_cut: page.is_cut,
                    size_bytes: page.size_bytes,
                    ..RecordsPage::default()
                }
            }
        })
    }

    #[tracing::instrument(name = "pds.record.put", skip_all, fields(writes = writes.len()))]
    async fn commit(
        &self,
        principal: &Principal,
        writes: Vec<Write>,
        expected: Option<&CommitMeta>,
    ) -> Result<CommitOutcome, RegistryError> {
        self.clients
            .as_sailor(&self.sessions, principal, |client, credential| {
                let (writes, swap) = (writes.clone(), expected.map(|head| head.cid));
                async move {
                    let auth = credential.authorization.as_pds_auth();
                    let call = client.apply_writes(auth, &credential.did, writes, swap);
                    match seen("apply_writes", &credential.pds, call).await {
                        Ok(commit) => Ok(CommitOutcome::Committed(commit)),
                        Err(error) if error.is_xrpc("InvalidSwap") => Ok(CommitOutcome::Moved),
                        Err(error) => Err(error),
                    }
                }
            })
            .await
    }
}

#[async_trait]
impl ManifestStore for PdsRecords {
    async fn find_manifest(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<ManifestRecord>, RegistryError> {
        self.find(owner, rkey).await
    }

    async fn find_tag(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<TagRecord>, RegistryError> {
        self.find(owner, rkey).await
    }

    async fn read_blob(
        &self,
        owner: &ResolvedIdentity,
        cid: &Cid,
        max: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        let client = self.clients.of(owner)?;
        let call = client.get_blob(&owner.did, cid, max);
        match seen("get_blob", client.base(), call).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_xrpc("BlobNotFound") || is_status(&error, 404) => Ok(None),
            // The reference PDS names no error when the bytes are gone from its store.
            Err(PdsError::Xrpc(error)) if error.message.as_deref() == Some("Blob not found") => Ok(None),
            Err(error) => Err(PdsFailure::at(client.base(), error).into()),
        }
    }

    #[tracing::instrument(name = "pds.blob.upload", skip_all, fields(size_bytes = bytes.len()))]
    async fn upload_blob(
        &self,
        principal: &Principal,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<BlobRef, RegistryError> {
        self.clients
            .as_sailor(&self.sessions, principal, |client, credential| {
                let bytes = bytes.clone();
                let media_type = blob_type(&credential.authorization, media_type).to_owned();
                async move {
                    let auth = credential.authorization.as_pds_auth();
                    let call = client.upload_blob(auth, bytes, &media_type);
                    seen("upload_blob", &credential.pds, call).await
                }
            })
            .await
    }
}

#[async_trait]
impl OwnRecords for PdsRecords {
    async fn find_page(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<RepoPageRecord>, RegistryError> {
        self.find(owner, rkey).await
    }

    async fn has_record(
        &self,
        owner: &ResolvedIdentity,
        collection: &str,
        rkey: &RecordKey,
    ) -> Result<bool, RegistryError> {
        let client = self.clients.of(owner)?;
        let call = client.get_record(&owner.did, collection, rkey);
        let entry = seen("get_record", client.base(), call)
            .await
            .map_err(|error| PdsFailure::at(client.base(), error))?;
        Ok(entry.is_some())
    }

    async fn record_keys(
        &self,
        owner: &ResolvedIdentity,
        collection: &str,
        limit: usize,
    ) -> Result<Vec<RecordKey>, RegistryError> {
        let client = self.clients.of(owner)?;
        let mut keys = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_KEY_PAGES {
            if keys.len() >= limit {
                break;
            }
            let page = ListRecords {
                limit: Some(PAGE),
                cursor: cursor.as_deref(),
                reverse: false,
            };
            let call = client.list_records(&owner.did, collection, page);
            let page = seen("list_records", client.base(), call)
                .await
                .map_err(|error| PdsFailure::at(client.base(), error))?;
            let is_empty = page.records.is_empty();
            keys.extend(page.records.iter().filter_map(|entry| entry.uri.rkey()));
            // A server that gives a cursor with every page ends with an empty one.
            cursor = match page.cursor {
                Some(next) if !is_empty && Some(&next) != cursor.as_ref() => Some(next),
                _ => break,
            };
        }
        keys.truncate(limit);
        Ok(keys)
    }
}

#[async_trait]
impl AccountSettings for PdsRecords {
    async fn find_profile(
        &self,
        owner: &ResolvedIdentity,
    ) -> Result<Option<SailorProfileRecord>, RegistryError> {
        self.find(owner, &RecordKey::literal_self()).await
    }

    async fn find_legacy_hold(&self, owner: &ResolvedIdentity) -> Result<Option<Did>, RegistryError> {
        let client = self.clients.of(owner)?;
        let page = ListRecords {
            limit: Some(PAGE),
            ..ListRecords::default()
        };
        let call = client.list_records(&owner.did, HoldLegacyRecord::NSID, page);
        let page = seen("list_records", client.base(), call)
            .await
            .map_err(|error| PdsFailure::at(client.base(), error))?;
        let mut records = page
            .records
            .into_iter()
            .filter_map(|entry| read::<HoldLegacyRecord>(owner, entry));
        Ok(records.find_map(|located| located.record.hold()))
    }
}

fn is_status(error: &PdsError, status: u16) -> bool {
    error
        .as_xrpc()
        .is_some_and(|error| error.status.as_u16() == status)
}
