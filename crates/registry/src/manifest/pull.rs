//! Reading a manifest: tag → digest → record → bytes, each from where it was lately seen, from the index while that is current, or else
//! from the owner's PDS.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::egress::SharePermit;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::tag;
use atcr_oci::{Digest, Reference, Tag};
use bytes::Bytes;

use crate::access::{Granted, Pull};
use crate::account::ports::Located;
use crate::context::RequestContext;
use crate::error::{ManifestError, RegistryError};
use crate::manifest::cache::{IndexedState, Presence};
use crate::manifest::record;
use crate::manifest::record_keys::{self, ManifestKeys};
use crate::manifest::{MANIFEST_LIMIT, Manifests};

/// How long a manifest waits for memory to be parsed in.
const PARSE_PATIENCE: Duration = Duration::from_secs(10);

/// A manifest as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedManifest {
    /// Its digest, which `bytes` are known to hash to.
    pub digest: Digest,
    /// The media type it was pushed with.
    pub media_type: String,
    /// The bytes as they were pushed.
    pub bytes: Bytes,
    /// What the reader has to know: the owner's server does not answer, so this may be old.
    pub warning: Option<String>,
}

/// A manifest that was found.
pub(super) struct Found {
    pub(super) digest: Digest,
    pub(super) presence: Arc<Presence>,
    pub(super) bytes: Bytes,
    pub(super) warning: Option<String>,
}

impl Manifests {
    /// The manifest `reference` of the granted repository, exactly as it was pushed.
    ///
    /// `counts` is true for a download, which the hold is told of so that it can count it.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`]; [`ManifestError::NoRepository`] for a tag where the whole account is listed and has no such
    /// repository; [`RegistryError::Corrupt`] when the PDS gives other bytes than the digest names; the PDS's.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-3. The stored media type is served whatever `Accept` says: a digest names bytes, and
    /// bytes have one type; a client that does not know it is better served by its name than by a 404.
    pub async fn pull(
        &self,
        grant: &Granted<Pull>,
        reference: &Reference,
        counts: bool,
    ) -> Result<ServedManifest, RegistryError> {
        let context = grant.context();
        let found = match self.find(context, reference).await {
            Err(error) if error.is_silence() => match self.find_known(context, reference).await? {
                Some(found) => found,
                // It may not say its newest revision, and answer all the same.
                None if self.known.is_some() => self.find_at_owner(context, reference).await?,
                None => return Err(error),
            },
            Err(RegistryError::Manifest(ManifestError::Unknown { .. }))
                if self.is_missing_repository(context, reference).await =>
            {
                return Err(RegistryError::Manifest(ManifestError::NoRepository {
                    name: context.name.to_string(),
                }));
            }
            found => found?,
        };
        let Found {
            digest,
            presence,
            bytes,
            warning,
        } = found;
        if counts && let Some(hold) = &presence.hold {
            self.notices
                .pulled(grant, hold, &digest, &presence.media_type, reference.tag());
        }
        Ok(ServedManifest {
            digest,
            media_type: presence.media_type.clone(),
            bytes,
            warning,
        })
    }

    /// Whether a tag was not found because there is no such repository. A tag is looked for in the whole account before it counts as
    /// missing; a digest is not. Only the sentence depends on it, so an error counts as no.
    async fn is_missing_repository(&self, context: &RequestContext, reference: &Reference) -> bool {
        let (did, repository) = (&context.owner.did, context.repository());
        if reference.tag().is_none() {
            return false;
        }
        let has = self.accounts.index().has_repository(did, repository).await;
        has.is_ok_and(|has| !has)
    }

    /// The manifest as the account has it now, or had it as lately as [`crate::account::CURRENT_FOR`] says.
    async fn find(&self, context: &RequestContext, reference: &Reference) -> Result<Found, RegistryError> {
        let unknown = || unknown(context, reference);
        let state = self.state_of(&context.owner.did).await?;
        let (digest, is_tagged) = match reference {
            Reference::Digest(digest) => (digest.clone(), false),
            Reference::Tag(tag) => {
                let digest = self.resolve_tag(context, tag, state.clone()).await?;
                (digest.ok_or_else(unknown)?, true)
            }
        };
        let presence = self
            .cache
            .presence(
                &context.owner.did,
                context.repository(),
                &digest,
                state,
                self.locate(context, &digest, is_tagged),
            )
            .await?
            .ok_or_else(unknown)?;
        let bytes = self
            .read(context, &digest, &presence)
            .await?
            .ok_or_else(unknown)?;
        Ok(Found {
            digest,
            presence,
            bytes,
            warning: None,
        })
    }

    /// The same by the account's server alone, whatever the index knows.
    async fn find_at_owner(
        &self,
        context: &RequestContext,
        reference: &Reference,
    ) -> Result<Found, RegistryError> {
        let unknown = || unknown(context, reference);
        let (digest, is_tagged) = match reference {
            Reference::Digest(digest) => (digest.clone(), false),
            Reference::Tag(tag) => {
                let digest = self.resolve_tag_at_owner(context, tag).await?;
                (digest.ok_or_else(unknown)?, true)
            }
        };
        let presence = self.locate_at_owner(context, &digest, is_tagged).await?;
        let presence = presence.ok_or_else(unknown)?;
        let bytes = self
            .read(context, &digest, &presence)
            .await?
            .ok_or_else(unknown)?;
        Ok(Found {
            digest,
            presence: Arc::new(presence),
            bytes,
            warning: None,
        })
    }

    /// What `tag` points at, remembered for as long as the index is at `state`; `None` when the repository has no such tag.
    async fn resolve_tag(
        &self,
        context: &RequestContext,
        tag: &Tag,
        state: Option<IndexedState>,
    ) -> Result<Option<Digest>, RegistryError> {
        let (did, repository) = (&context.owner.did, context.repository());
        let resolve = async {
            if let Some(known) = self.current(context).await?
                && let Some(digest) = known.tag(did, repository, tag).await?
            {
                return Ok(Some(digest));
            }
            self.resolve_tag_at_owner(context, tag).await
        };
        self.cache.tag(did, repository, tag, state, resolve).await
    }

    /// The same by the account's server alone.
    async fn resolve_tag_at_owner(
        &self,
        context: &RequestContext,
        tag: &Tag,
    ) -> Result<Option<Digest>, RegistryError> {
        let (owner, repository) = (&context.owner, context.repository());
        let rkey = tag::rkey(repository, tag.as_str()).map_err(internal)?;
        // What a tag points at is the one thing that an older state changes.
        let (record, ()) = tokio::try_join!(
            self.store.find_tag(owner, &rkey),
            self.accounts.require_steady(owner),
        )?;
        if let Some(record) = record
            && record.repository == repository
            && record.tag == tag.as_str()
            && let Some(digest) = record.digest().and_then(|text| text.parse().ok())
        {
            return Ok(Some(digest));
        }
        // Another writer may keep the tag under another key, and `a_b` + `c` has the key of `a` + `b_c`.
        let coverage = self.accounts.ensure_synced(owner, &context.requester).await?;
        let records = self
            .accounts
            .index()
            .find_tag(&owner.did, repository, tag.as_str())
            .await?;
        let found = records.into_iter().find_map(|record| record.digest);
        if found.is_none() {
            coverage.require_absence(&owner.did)?;
        }
        Ok(found)
    }

    /// Whether the repository has `digest`, and what the record says. `tagged` when a tag of the repository points there.
    pub(super) async fn locate(
        &self,
        context: &RequestContext,
        digest: &Digest,
        tagged: bool,
    ) -> Result<Option<Presence>, RegistryError> {
        if let Some(presence) = self.locate_known(context, digest).await? {
            return Ok(Some(presence));
        }
        self.locate_at_owner(context, digest, tagged).await
    }

    /// The same by the account's server alone.
    async fn locate_at_owner(
        &self,
        context: &RequestContext,
        digest: &Digest,
        tagged: bool,
    ) -> Result<Option<Presence>, RegistryError> {
        let (owner, repository) = (&context.owner, context.repository());
        let keys = ManifestKeys::new(digest, repository).map_err(internal)?;
        let Some(shared) = self.store.find_manifest(owner, &keys.shared).await? else {
            return Ok(None);
        };
        let (rkey, record) = if shared.repository == repository {
            (keys.shared, shared)
        } else {
            let own = self.store.find_manifest(owner, &keys.own).await?;
            match own {
                Some(own) if record_keys::find(repository, None, Some(&own)).is_some() => (keys.own, own),
                // A writer that knows one record for a digest leaves only the tag behind in the other repository.
                _ if tagged || self.is_tagged(context, digest).await? => (keys.shared, shared),
                _ => return Ok(None),
            }
        };
        let Some(blob) = record.manifest_blob.as_ref() else {
            tracing::info!(did = %owner.did, rkey = rkey.as_str(), "a manifest record without its bytes is not served");
            return Ok(None);
        };
        let blob = blob.cid;
        let (record, _room) = self.completed(context, digest, record).await?;
        let presence = Presence {
            media_type: record.media_type.clone(),
            blob,
            hold: record.hold(),
        };
        let located = Located { rkey, record };
        if let Err(error) = self.accounts.index().note(&owner.did, &located).await {
            // The manifest itself is there; its blobs are looked for in the hold of pushes.
            tracing::error!(did = %owner.did, %digest, error = &error as &dyn std::error::Error, "the index missed a pull");
        }
        Ok(Some(presence))
    }

    /// `record` with what it leaves out of its manifest, as far as the bytes can be had, and the memory that is counted for it.
    ///
    /// # Errors
    /// The PDS's. Bytes that are gone or damaged change nothing here.
    pub(super) async fn completed(
        &self,
        context: &RequestContext,
        digest: &Digest,
        mut record: ManifestRecord,
    ) -> Result<(ManifestRecord, Option<SharePermit>), RegistryError> {
        let Some(blob) = record.manifest_blob.as_ref().map(|blob| blob.cid) else {
            return Ok((record, None));
        };
        if !record::is_partial(&record) {
            return Ok((record, None));
        }
        let mut room = None;
        let presence = Presence {
            media_type: record.media_type.clone(),
            blob,
            hold: None,
        };
        match self.read(context, digest, &presence).await {
            Ok(Some(bytes)) => {
                room = Some(self.parse_room(&context.owner, bytes.len()).await?);
                record::complete(&mut record, &bytes);
            }
            Err(error) if !error.is_damaged() => return Err(error),
            Ok(None) | Err(_) => {
                tracing::info!(did = %context.owner.did, %digest, "what a manifest names is not known: its bytes cannot be had");
            }
        }
        Ok((record, room))
    }

    /// Waits for room for what is made of `bytes` that the PDS of `owner` gave. The caller must not read from a PDS while it holds it.
    pub(super) async fn parse_room(
        &self,
        owner: &ResolvedIdentity,
        bytes: usize,
    ) -> Result<SharePermit, RegistryError> {
        let host = owner.pds.as_ref().and_then(|pds| pds.host_str());
        let room = self.memory.parse(host.unwrap_or_default(), bytes, PARSE_PATIENCE);
        room.await.map_err(|_| RegistryError::TooManyRequests {
            retry_after: PARSE_PATIENCE,
        })
    }

    async fn is_tagged(&self, context: &RequestContext, digest: &Digest) -> Result<bool, RegistryError> {
        let coverage = self
            .accounts
            .ensure_synced(&context.owner, &context.requester)
            .await?;
        let index = self.accounts.index();
        let tags = index
            .tags_of(&context.owner.did, context.repository(), digest)
            .await?;
        if tags.is_empty() {
            coverage.require_absence(&context.owner.did)?;
        }
        Ok(!tags.is_empty())
    }

    /// The bytes of a manifest that is there; `None` when the PDS does not have them.
    pub(super) async fn read(
        &self,
        context: &RequestContext,
        digest: &Digest,
        presence: &Presence,
    ) -> Result<Option<Bytes>, RegistryError> {
        let fetch = async {
            if let Some(bytes) = self.held_bytes(digest).await {
                return Ok(bytes);
            }
            let bytes = self
                .store
                .read_blob(&context.owner, &presence.blob, MANIFEST_LIMIT)
                .await?
                .ok_or_else(|| {
                    RegistryError::Manifest(ManifestError::Unknown {
                        name: context.name.to_string(),
                        reference: digest.to_string(),
                    })
                })?;
            let actual = Digest::of(digest.algorithm(), &bytes);
            if actual != *digest {
                return Err(RegistryError::Corrupt {
                    what: format!("the PDS gave bytes of {actual} for manifest {digest}"),
                });
            }
            self.keep(&context.owner, digest, &bytes).await;
            Ok(bytes)
        };
        match self.cache.bytes(&context.owner.did, digest, fetch).await {
            Ok(bytes) => {
                self.note_use(digest).await;
                Ok(Some(bytes))
            }
            Err(RegistryError::Manifest(ManifestError::Unknown { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn unknown(context: &RequestContext, reference: &Reference) -> RegistryError {
    RegistryError::Manifest(ManifestError::Unknown {
        name: context.name.to_string(),
        reference: reference.to_string(),
    })
}

/// An error that the types should have made impossible.
pub(super) fn internal(error: impl std::fmt::Display) -> RegistryError {
    RegistryError::Internal {
        what: error.to_string(),
    }
}
