//! `ManifestStore` over a PDS's XRPC methods.

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::hold_legacy::HoldLegacyRecord;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::sailor_profile::{SailorProfileRecord, has_legacy_hold};
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::lexicon::{BlobRef, Record};
use atcr_atproto::pds::{CommitMeta, ListRecords, PdsError, RecordEntry, Write};
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_auth::oauth::scopes::{FALLBACK_BLOB_TYPE, MANIFEST_BLOB_TYPES};
use atcr_auth::principal::Principal;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::pds_client::PdsClients;
use super::pds_error::registry_error;
use crate::registry::error::RegistryError;
use crate::registry::manifest_record;
use crate::registry::manifests::MANIFEST_LIMIT;
use crate::registry::ports::{AccountListing, CommitOutcome, FoundProfile, Located, ManifestStore};
use crate::sessions::Sessions;
use crate::sessions::ports::Authorization;

/// Records in a page, the most a PDS gives.
const PAGE: u8 = 100;

/// Pages read of one collection: 100,000 records. An account with more is listed in part, and its own PDS is asked for
/// what is not found.
const MAX_PAGES: usize = 1_000;

/// Manifests fetched at once while an account is listed.
const BLOBS_AT_ONCE: usize = 8;

/// Records at PDSes.
///
/// Sessions need this store (a profile is made at sign-in) and it needs sessions (writes), so they are joined afterwards by
/// [`PdsManifests::connect`].
#[derive(Debug)]
pub struct PdsManifests {
    clients: PdsClients,
    sessions: std::sync::OnceLock<Sessions>,
}

impl PdsManifests {
    /// A store that can read; see [`PdsManifests::connect`].
    #[must_use]
    pub fn new(clients: PdsClients) -> Self {
        Self {
            clients,
            sessions: std::sync::OnceLock::new(),
        }
    }

    /// From here on writes go through `sessions`. Only the first call has an effect.
    pub fn connect(&self, sessions: Sessions) {
        // The second of two calls is a mistake of composition that changes nothing.
        let _ = self.sessions.set(sessions);
    }

    fn sessions(&self) -> Result<&Sessions, RegistryError> {
        self.sessions.get().ok_or_else(|| RegistryError::Internal {
            what: "the record store has no sessions".to_owned(),
        })
    }

    async fn find<R: Record>(
        &self,
        owner: &ResolvedIdentity,
        rkey: &RecordKey,
    ) -> Result<Option<R>, RegistryError> {
        let client = self.clients.of(owner)?;
        let entry = client
            .get_record(&owner.did, R::NSID, rkey)
            .await
            .map_err(|error| registry_error(client.base(), error))?;
        Ok(entry
            .and_then(|entry| read(owner, entry))
            .map(|located| located.record))
    }

    async fn list_all<R: Record>(&self, owner: &ResolvedIdentity) -> Result<Vec<Located<R>>, RegistryError> {
        let client = self.clients.of(owner)?;
        let mut records = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = ListRecords {
                limit: Some(PAGE),
                cursor: cursor.as_deref(),
                reverse: false,
            };
            let page = client
                .list_records(&owner.did, R::NSID, page)
                .await
                .map_err(|error| registry_error(client.base(), error))?;
            let empty = page.records.is_empty();
            records.extend(page.records.into_iter().filter_map(|entry| read(owner, entry)));
            match page.cursor {
                // A server that gives a cursor with every page ends with an empty one.
                Some(next) if !empty && Some(&next) != cursor.as_ref() => cursor = Some(next),
                _ => return Ok(records),
            }
        }
        tracing::warn!(did = %owner.did, collection = R::NSID, records = records.len(), "an account is listed in part");
        Ok(records)
    }
}

impl PdsManifests {
    /// The record with what it leaves out of its manifest. Where the bytes cannot be had for good, it stays as it is.
    async fn completed(
        &self,
        owner: &ResolvedIdentity,
        mut manifest: Located<ManifestRecord>,
    ) -> Result<Located<ManifestRecord>, RegistryError> {
        let record = &mut manifest.record;
        let blob = record.manifest_blob.as_ref().map(|blob| blob.cid);
        let Some(cid) = blob.filter(|_| manifest_record::is_partial(record)) else {
            return Ok(manifest);
        };
        match self.read_blob(owner, &cid, MANIFEST_LIMIT).await {
            Ok(Some(bytes)) => manifest_record::complete(record, &bytes),
            Ok(None) | Err(RegistryError::Corrupt { .. } | RegistryError::PdsFailed { .. }) => {
                tracing::info!(
                    did = %owner.did,
                    rkey = manifest.rkey.as_str(),
                    "what a manifest names is not known: its bytes cannot be had"
                );
            }
            Err(error) => return Err(error),
        }
        Ok(manifest)
    }
}

/// A record that has its type's form; anything else is somebody's mistake and no reason to fail the rest.
fn read<R: Record>(owner: &ResolvedIdentity, entry: RecordEntry) -> Option<Located<R>> {
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
impl ManifestStore for PdsManifests {
    async fn head(&self, owner: &ResolvedIdentity) -> Result<Option<CommitMeta>, RegistryError> {
        let client = self.clients.of(owner)?;
        match client.get_latest_commit(&owner.did).await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.is_xrpc("RepoNotFound") => Ok(None),
            Err(error) => Err(registry_error(client.base(), error)),
        }
    }

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

    #[tracing::instrument(name = "pds.account.list", skip_all, fields(did = %owner.did))]
    async fn list(&self, owner: &ResolvedIdentity) -> Result<AccountListing, RegistryError> {
        let (manifests, tags) = tokio::try_join!(self.list_all(owner), self.list_all(owner))?;
        let manifests = stream::iter(manifests)
            .map(|manifest| self.completed(owner, manifest))
            .buffered(BLOBS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(AccountListing { manifests, tags })
    }

    async fn read_blob(
        &self,
        owner: &ResolvedIdentity,
        cid: &Cid,
        max: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        let client = self.clients.of(owner)?;
        match client.get_blob(&owner.did, cid, max).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_xrpc("BlobNotFound") || is_status(&error, 404) => Ok(None),
            // The reference PDS names no error when the bytes are gone from its store.
            Err(PdsError::Xrpc(error)) if error.message.as_deref() == Some("Blob not found") => Ok(None),
            Err(error) => Err(registry_error(client.base(), error)),
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
            .as_sailor(self.sessions()?, principal, |client, credential| {
                let bytes = bytes.clone();
                let media_type = blob_type(&credential.authorization, media_type).to_owned();
                async move {
                    client
                        .upload_blob(credential.authorization.as_pds_auth(), bytes, &media_type)
                        .await
                }
            })
            .await
    }

    #[tracing::instrument(name = "pds.record.put", skip_all, fields(writes = writes.len()))]
    async fn commit(
        &self,
        principal: &Principal,
        writes: Vec<Write>,
        expected: Option<&CommitMeta>,
    ) -> Result<CommitOutcome, RegistryError> {
        self.clients
            .as_sailor(self.sessions()?, principal, |client, credential| {
                let (writes, swap) = (writes.clone(), expected.map(|head| head.cid));
                async move {
                    let auth = credential.authorization.as_pds_auth();
                    match client.apply_writes(auth, &credential.did, writes, swap).await {
                        Ok(commit) => Ok(CommitOutcome::Committed(commit)),
                        Err(error) if error.is_xrpc("InvalidSwap") => Ok(CommitOutcome::Moved),
                        Err(error) => Err(error),
                    }
                }
            })
            .await
    }

    async fn find_profile(&self, owner: &ResolvedIdentity) -> Result<Option<FoundProfile>, RegistryError> {
        let client = self.clients.of(owner)?;
        let entry = client
            .get_record(&owner.did, SailorProfileRecord::NSID, &RecordKey::literal_self())
            .await
            .map_err(|error| registry_error(client.base(), error))?;
        let Some(entry) = entry else { return Ok(None) };
        let is_outdated = has_legacy_hold(&entry.value);
        Ok(read(owner, entry).map(|located| FoundProfile {
            record: located.record,
            is_outdated,
        }))
    }

    async fn find_legacy_hold(&self, owner: &ResolvedIdentity) -> Result<Option<Did>, RegistryError> {
        let client = self.clients.of(owner)?;
        let page = ListRecords {
            limit: Some(PAGE),
            ..ListRecords::default()
        };
        let page = client
            .list_records(&owner.did, HoldLegacyRecord::NSID, page)
            .await
            .map_err(|error| registry_error(client.base(), error))?;
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
