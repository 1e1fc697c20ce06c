//! What is answered without the owner's server: what the index of the network knows of the account, and bytes that were kept.
//!
//! The index is believed while it is of the account's newest revision, as [`Accounts::is_current`](crate::account::Accounts::is_current)
//! says; else the account's server is asked. When that says nothing, what the index knows is served all the same, and the answer says so.

use std::sync::Arc;

use atcr_atproto::egress::party;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::lexicon::manifest::UNTYPED;
use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, Reference};
use bytes::Bytes;

use crate::account::ports::Located;
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::manifest::cache::{IndexedState, Presence};
use crate::manifest::ports::{KnownManifest, KnownManifests};
use crate::manifest::pull::Found;
use crate::manifest::record;
use crate::manifest::record_keys::ManifestKeys;
use crate::manifest::{Manifests, pull::internal};

impl Manifests {
    /// The index, if it has the account of `context` as it is now.
    ///
    /// # Errors
    /// The PDS's, if it had to be asked; the database's.
    pub(super) async fn current(
        &self,
        context: &RequestContext,
    ) -> Result<Option<&Arc<dyn KnownManifests>>, RegistryError> {
        let owner = &context.owner;
        let Some(known) = &self.known else { return Ok(None) };
        let Some(standing) = known.standing(&owner.did).await? else {
            return Ok(None);
        };
        if !standing.is_behind && self.accounts.is_current(owner, &standing.rev).await? {
            return Ok(Some(known));
        }
        known.is_behind(&owner.did).await;
        Ok(None)
    }

    /// What the index has of the account now, for keys of what is remembered: it moves with every write, also one through another server
    /// that shares the index.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn state_of(&self, did: &Did) -> Result<Option<IndexedState>, RegistryError> {
        let Some(known) = &self.known else { return Ok(None) };
        let standing = known.standing(did).await?;
        Ok(standing.map(|standing| (standing.rev, standing.is_behind)))
    }

    /// That the repository has `digest`, as the index says while it is current.
    pub(super) async fn locate_known(
        &self,
        context: &RequestContext,
        digest: &Digest,
    ) -> Result<Option<Presence>, RegistryError> {
        let Some(known) = self.current(context).await? else {
            return Ok(None);
        };
        let Some(manifest) = known
            .manifest(&context.owner.did, context.repository(), digest)
            .await?
        else {
            return Ok(None);
        };
        let Some(presence) = presence(&manifest) else {
            return Ok(None);
        };
        if !self.is_noted(context, digest).await {
            let Some(bytes) = self.read(context, digest, &presence).await? else {
                return Ok(None);
            };
            self.note_known(context, digest, &manifest, &presence, &bytes)
                .await;
        }
        Ok(Some(presence))
    }

    /// The manifest as the index has it and its bytes as they were kept; `None` if either is missing, the account is hidden, or the index
    /// misses a revision that was seen here: an answer from before a write that was acknowledged is none.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn find_known(
        &self,
        context: &RequestContext,
        reference: &Reference,
    ) -> Result<Option<Found>, RegistryError> {
        let (did, repository) = (&context.owner.did, context.repository());
        let Some(known) = &self.known else { return Ok(None) };
        let Some(standing) = known.standing(did).await? else {
            return Ok(None);
        };
        // The index heard of a later revision from every server that shares it; this one remembers its own.
        if standing.is_behind || self.accounts.has_seen_newer(did, &standing.rev).await? {
            return Ok(None);
        }
        let digest = match reference {
            Reference::Digest(digest) => Some(digest.clone()),
            Reference::Tag(tag) => known.tag(did, repository, tag).await?,
        };
        let Some(digest) = digest else { return Ok(None) };
        let Some(manifest) = known.manifest(did, repository, &digest).await? else {
            return Ok(None);
        };
        let (Some(presence), Some(bytes)) = (presence(&manifest), self.held_bytes(&digest).await) else {
            return Ok(None);
        };
        if !self.is_noted(context, &digest).await {
            self.note_known(context, &digest, &manifest, &presence, &bytes)
                .await;
        }
        metrics::counter!("atcr_appview_manifests_served_without_pds_total").increment(1);
        let host = context.owner.pds.as_ref().map_or("", |pds| pds.authority());
        let rev = standing.rev.as_str();
        Ok(Some(Found {
            digest,
            presence: Arc::new(presence),
            bytes,
            warning: Some(format!(
                "the owner's server {host} does not answer: this is what the account had at revision {rev}, and may have changed"
            )),
        }))
    }

    /// The bytes of `digest`, from memory or as they were kept.
    pub(super) async fn held_bytes(&self, digest: &Digest) -> Option<Bytes> {
        if let Some(bytes) = self.cache.find_bytes(digest) {
            self.note_use(digest).await;
            return Some(bytes);
        }
        let bytes = match self.kept.find(digest).await {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::error!(%digest, error = &error as &dyn std::error::Error, "kept manifests cannot be read");
                return None;
            }
        };
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            tracing::error!(%digest, "the bytes kept of a manifest are damaged; they are fetched again");
            self.forget_kept(digest).await;
            return None;
        }
        self.cache.keep_bytes(digest.clone(), bytes.clone());
        Some(bytes)
    }

    /// Notes that `digest` was used, so that what is served from memory is not the first that is forgotten.
    pub(super) async fn note_use(&self, digest: &Digest) {
        if self.cache.is_use_noted(digest) {
            return;
        }
        if let Err(error) = self.kept.used(digest).await {
            tracing::error!(%digest, error = &error as &dyn std::error::Error, "the use of a manifest is not noted");
        }
    }

    /// Keeps bytes that are known to hash to `digest` and that `owner` has, over restarts.
    pub(super) async fn keep(&self, owner: &ResolvedIdentity, digest: &Digest, bytes: &Bytes) {
        let host = owner.pds.as_ref().and_then(|pds| pds.host_str());
        let host = party(host.unwrap_or_default());
        if let Err(error) = self.kept.keep(&host, digest, bytes).await {
            tracing::error!(%digest, error = &error as &dyn std::error::Error, "a manifest is not kept");
        }
    }

    async fn forget_kept(&self, digest: &Digest) {
        if let Err(error) = self.kept.forget(digest).await {
            tracing::error!(%digest, error = &error as &dyn std::error::Error, "damaged bytes stay until the next look");
        }
    }

    /// Whether the index of accounts names the manifest's blobs. If that is not known, nothing is noted: no pull fails of it.
    async fn is_noted(&self, context: &RequestContext, digest: &Digest) -> bool {
        let index = self.accounts.index();
        match index.copies(&context.owner.did, digest).await {
            Ok(copies) => copies.iter().any(|copy| copy.repository == context.repository()),
            Err(error) => {
                missed(context, digest, &error);
                true
            }
        }
    }

    /// Notes the manifest in the index of accounts, so that its blobs are found: what its record says, from its bytes. Where that fails,
    /// they are looked for in the hold of pushes.
    async fn note_known(
        &self,
        context: &RequestContext,
        digest: &Digest,
        manifest: &KnownManifest,
        presence: &Presence,
        bytes: &Bytes,
    ) {
        let noted = self.try_note_known(context, digest, manifest, presence, bytes);
        if let Err(error) = noted.await {
            missed(context, digest, &error);
        }
    }

    async fn try_note_known(
        &self,
        context: &RequestContext,
        digest: &Digest,
        manifest: &KnownManifest,
        presence: &Presence,
        bytes: &Bytes,
    ) -> Result<(), RegistryError> {
        let _room = self.parse_room(&context.owner, bytes.len()).await?;
        let blob = BlobRef {
            cid: presence.blob,
            mime_type: presence.media_type.clone(),
            size: bytes.len() as u64,
        };
        let record = record::of_bytes(
            context.repository(),
            digest,
            &presence.media_type,
            manifest.hold.as_ref(),
            blob,
            bytes,
            self.clock.now_datetime(),
        );
        let Some(record) = record else { return Ok(()) };
        let keys = ManifestKeys::new(digest, context.repository()).map_err(internal)?;
        let rkey = manifest.odd_rkey.clone().unwrap_or(keys.shared);
        let located = Located { rkey, record };
        self.accounts.index().note(&context.owner.did, &located).await
    }
}

fn missed(context: &RequestContext, digest: &Digest, error: &RegistryError) {
    let did = &context.owner.did;
    tracing::error!(%did, %digest, error = error as &dyn std::error::Error, "the index missed a pull");
}

/// What a pull needs; `None` if the index does not have it all.
fn presence(manifest: &KnownManifest) -> Option<Presence> {
    if manifest.media_type == UNTYPED {
        return None;
    }
    Some(Presence {
        media_type: manifest.media_type.clone(),
        blob: manifest.blob?,
        hold: manifest.hold.clone(),
    })
}
