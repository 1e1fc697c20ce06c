//! The manifests of accounts, from their own servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::{DidDocument, IdentityError, IdentityResolver};
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::{BlobRef, nsid};
use atcr_atproto::pds::{ListRecords, PdsClient, PdsError, RecordEntry};
use atcr_atproto::syntax::{Cid, Did, RecordKey, Tid};
use atcr_oci::{Algorithm, Digest};
use atcr_repo::provenance::{MAX_PROOF_BYTES, RecordClaim, Refusal, record};
use bytes::Bytes;
use serde::Deserialize as _;

use crate::gc::digests_in;
use crate::gc::ports::{AccountReader, ListedManifest, ManifestPage, Unreadable};

/// Records of one page; fewer, if so many make an answer that is too long.
const PAGES: [u8; 3] = [100, 10, 1];
/// How often a server that asks for fewer requests is asked again, and for how long it is waited for each time.
const PATIENCE: u32 = 3;
const LONGEST_WAIT: Duration = Duration::from_mins(6);
const USUAL_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a manifest that is read: more than registries take.
const MAX_MANIFEST: u64 = 8 * 1024 * 1024;
/// What a server calls an account that is not there.
const GONE: [&str; 4] = [
    "RepoNotFound",
    "RepoDeactivated",
    "RepoTakendown",
    "RepoSuspended",
];

/// [`AccountReader`] over the network.
pub struct AccountManifests {
    egress: EgressClient,
    resolver: Arc<dyn IdentityResolver>,
    clock: Arc<dyn Clock>,
}

impl AccountManifests {
    /// Asks through `egress` the servers that `resolver` finds.
    #[must_use]
    pub fn new(egress: EgressClient, resolver: Arc<dyn IdentityResolver>, clock: Arc<dyn Clock>) -> Self {
        Self {
            egress,
            resolver,
            clock,
        }
    }

    async fn client(&self, did: &Did) -> Result<(PdsClient, Arc<DidDocument>), Unreadable> {
        let document = self.resolver.resolve_document(did).await.map_err(unresolved)?;
        let pds = document
            .service("atproto_pds")
            .ok_or_else(|| Unreadable::Gone("its document names no server".to_owned()))?;
        Ok((PdsClient::new(pds, self.egress.clone()), document))
    }
}

impl fmt::Debug for AccountManifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountManifests").finish_non_exhaustive()
    }
}

#[async_trait]
impl AccountReader for AccountManifests {
    async fn rev(&self, did: &Did) -> Result<Tid, Unreadable> {
        let (client, _) = self.client(did).await?;
        let commit = patiently(|| client.get_latest_commit(did))
            .await
            .map_err(refused)?;
        Ok(commit.rev)
    }

    async fn page(&self, did: &Did, cursor: Option<&str>) -> Result<ManifestPage, Unreadable> {
        let (client, _) = self.client(did).await?;
        let mut limits = PAGES.into_iter().peekable();
        while let Some(limit) = limits.next() {
            let asking = || {
                let page = ListRecords {
                    limit: Some(limit),
                    cursor,
                    reverse: false,
                };
                client.list_records(did, nsid::MANIFEST, page)
            };
            let page = match patiently(asking).await {
                Err(PdsError::TooLarge { .. }) if limits.peek().is_some() => continue,
                page => page.map_err(refused)?,
            };
            return Ok(ManifestPage {
                manifests: page.records.iter().map(listed).collect::<Result<_, _>>()?,
                cursor: page.cursor,
            });
        }
        Err(Unreadable::Failed("its list cannot be had".to_owned()))
    }

    async fn bytes(&self, did: &Did, cid: &Cid) -> Result<Bytes, Unreadable> {
        let (client, _) = self.client(did).await?;
        let bytes = patiently(|| client.get_blob(did, cid, MAX_MANIFEST)).await;
        bytes.map_err(|error| {
            // Not `Gone`: the account is there.
            Unreadable::Failed(format!("a manifest's bytes cannot be had: {error}"))
        })
    }

    async fn is_absent(&self, did: &Did, rkey: &str, not_before: &Tid) -> Result<bool, Unreadable> {
        let (client, document) = self.client(did).await?;
        let Ok(rkey) = rkey.parse::<RecordKey>() else {
            return Ok(false);
        };
        let proof = patiently(|| client.record_proof(did, nsid::MANIFEST, &rkey, MAX_PROOF_BYTES)).await;
        let proof = match proof {
            // It answers, with what is no proof.
            Err(PdsError::TooLarge { .. } | PdsError::Malformed { .. }) => None,
            proof => proof.map_err(refused)?,
        };
        let Some(proof) = proof else {
            return Ok(false);
        };
        let claim = RecordClaim {
            document: &document,
            rkey: &rkey,
            not_before: Some(not_before),
            now: self.clock.now(),
        };
        Ok(matches!(
            record::<ManifestRecord>(&proof, &claim),
            Err(Refusal::NoSuchRecord { .. })
        ))
    }
}

/// Asks, and asks again when the server says, which wants fewer requests.
async fn patiently<T, A>(ask: impl Fn() -> A) -> Result<T, PdsError>
where
    A: Future<Output = Result<T, PdsError>>,
{
    for _ in 0..PATIENCE {
        match ask().await {
            Err(PdsError::RateLimited { retry_after, .. }) => {
                tokio::time::sleep(retry_after.unwrap_or(USUAL_WAIT).min(LONGEST_WAIT)).await;
            }
            outcome => return outcome,
        }
    }
    ask().await
}

/// A record that is not understood would leave out what it names.
fn listed(entry: &RecordEntry) -> Result<ListedManifest, Unreadable> {
    let odd = |what: &str| Unreadable::Failed(format!("{}: {what}", entry.uri));
    let rkey = entry.uri.rkey().ok_or_else(|| odd("a record without a key"))?;
    let mut digests = Vec::new();
    digests_in(&entry.value, &mut digests);
    let repository = entry.value.get("repository").and_then(|name| name.as_str());
    let blob = entry.value.get("manifestBlob").filter(|blob| !blob.is_null());
    let blob = blob.map(BlobRef::deserialize).transpose();
    let blob = blob.map_err(|_| odd("where the manifest's bytes are is not understood"))?;
    let text = serde_json::to_vec(&entry.value).map_err(|_| odd("not a record"))?;
    Ok(ListedManifest {
        rkey: rkey.to_string(),
        record: Digest::of(Algorithm::Sha256, &text),
        repository: repository.unwrap_or_default().to_owned(),
        digests,
        bytes: blob.map(|blob| blob.cid),
    })
}

fn unresolved(error: IdentityError) -> Unreadable {
    if error.is_not_found() {
        Unreadable::Gone(error.to_string())
    } else {
        Unreadable::Failed(error.to_string())
    }
}

fn refused(error: PdsError) -> Unreadable {
    let is_gone = GONE.iter().any(|name| error.is_xrpc(name));
    if is_gone {
        Unreadable::Gone(error.to_string())
    } else {
        Unreadable::Failed(error.to_string())
    }
}
