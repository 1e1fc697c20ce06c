//! A blob of one repository taken over into another without sending it again.
//!
//! Blobs belong to holds, not to repositories, so there is nothing to copy: what has to be shown is that the blob is in the hold
//! that a push goes to, and that the caller may read it where they say it is. Whatever cannot be shown ends in an ordinary upload,
//! as the specification wants it.

use std::sync::Arc;

use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::syntax::AtIdentifier;
use atcr_oci::{Digest, Mount, RepositoryName};

use crate::access::{Caller, Granted, Permissions, Push};
use crate::blob::ports::Place;
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::hold::ports::HoldRef;
use crate::upload::{StoredBlob, Uploads};

impl Uploads {
    /// Mounts a blob, `None` when it has to be uploaded. `caller` is who was granted the push, and `permissions` say whether the caller may
    /// read from the source.
    ///
    /// Without a source the blob may be anywhere in the hold that the push goes to; the hold decides whether the caller may read it.
    ///
    /// # Errors
    /// Those of [`crate::hold::ports::HoldDirectory::for_push`].
    ///
    /// # Spec
    /// distribution-spec v1.1, end-11.
    pub async fn mount(
        &self,
        grant: &Granted<Push>,
        caller: &Caller,
        permissions: &Permissions,
        mount: &Mount,
    ) -> Result<Option<StoredBlob>, RegistryError> {
        let target = self.directory.for_push(grant).await?;
        if let Some(from) = &mount.from {
            let Some(source) = self.readable_source(grant, caller, permissions, from).await else {
                return Ok(None);
            };
            match self.is_hold_of(&target, &source, &mount.digest).await {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => return Ok(not_mounted(&mount.digest, &error)),
            }
        }
        // One that was deleted from the target has to be sent again.
        let place = Place::of(grant.context());
        match self
            .blobs
            .find(grant.principal(), &target, place, &mount.digest)
            .await
        {
            Ok(Some(size)) => Ok(Some(StoredBlob {
                digest: mount.digest.clone(),
                size,
            })),
            Ok(None) => Ok(None),
            Err(error) => Ok(not_mounted(&mount.digest, &error)),
        }
    }

    /// Whether `hold` is one where the blob of `source` may be.
    async fn is_hold_of(
        &self,
        hold: &HoldRef,
        source: &RequestContext,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let known = self.directory.for_blob(source, digest).await?;
        if known.contains(&hold.did) {
            return Ok(true);
        }
        let of_pushes = self.directory.of_pushes(source).await?;
        Ok(of_pushes.is_some_and(|other| other.did == hold.did))
    }

    /// The source repository, if the caller may pull from it: the token says so or it is the caller's own, and it is not taken down.
    async fn readable_source(
        &self,
        grant: &Granted<Push>,
        caller: &Caller,
        permissions: &Permissions,
        from: &RepositoryName,
    ) -> Option<RequestContext> {
        let context = grant.context();
        let owner = if from.identity() == context.name.identity() {
            Arc::clone(&context.owner)
        } else {
            self.account(from).await?
        };
        let source = RequestContext {
            name: from.clone(),
            owner,
            requester: Arc::clone(&context.requester),
        };
        match permissions.grant_mount_source(caller, &source).await {
            Ok(_) => Some(source),
            Err(error) => {
                tracing::debug!(name = %from, %error, "nothing is mounted from there");
                None
            }
        }
    }

    async fn account(&self, name: &RepositoryName) -> Option<Arc<ResolvedIdentity>> {
        let identifier = AtIdentifier::from_image_segment(name.identity()).ok()?;
        self.identities.resolve(&identifier).await.ok()
    }
}

fn not_mounted(digest: &Digest, error: &RegistryError) -> Option<StoredBlob> {
    tracing::debug!(%digest, %error, "a blob is not mounted and has to be uploaded");
    None
}
