//! The end of an upload: the digest decides.

use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, RepositoryName, UploadSessionId};

use crate::access::{Granted, Push};
use crate::blob::ports::{Place, WholeUpload};
use crate::error::{BlobError, RegistryError, UploadError};
use crate::hold::credentials::CallError;
use crate::hold::error::HoldError;
use crate::upload::chunks::ChunkReader;
use crate::upload::session::{RemoteUpload, UploadSession};
use crate::upload::transfer::Transfer;
use crate::upload::{DRAIN_BYTES, StoredBlob, UploadBody, Uploads, check_range, check_received};

/// How often completion is asked for when the answer is lost: asking again is harmless.
const ATTEMPTS: u32 = 2;

/// How long finished sessions are remembered, and how many at once.
const REMEMBER_FINISHED: Duration = Duration::from_mins(15);
const REMEMBERED_FINISHED: u64 = 10_000;

/// What came of a session that is over.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    did: Did,
    repository: RepositoryName,
    blob: StoredBlob,
}

/// Sessions that were finished a short while ago.
pub(super) type FinishedSessions = moka::sync::Cache<UploadSessionId, Finished>;

pub(super) fn finished_sessions() -> FinishedSessions {
    let sessions = moka::sync::Cache::builder();
    sessions
        .max_capacity(REMEMBERED_FINISHED)
        .time_to_live(REMEMBER_FINISHED)
        .build()
}

impl Uploads {
    /// Takes in what is left and completes the upload. On failure the session stands where it stood before, except that a digest
    /// that does not fit discards it.
    pub(super) async fn finish(
        &self,
        transfer: &mut Transfer<'_>,
        digest: &Digest,
        body: UploadBody,
    ) -> Result<StoredBlob, RegistryError> {
        let whole = transfer.session.offset == 0;
        if whole {
            transfer.session.expect_digest(digest);
        }
        let mut reader = ChunkReader::new(body.bytes, self.body_idle);
        let taken = match check_range(&transfer.session, body.len, body.range) {
            Ok(()) => transfer.take_in(&mut reader, body.len, whole).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken.and_then(|()| check_received(&reader, body.len, body.range)) {
            reader.drain(DRAIN_BYTES).await;
            // The answer to an earlier request may have been lost after the hold had completed the upload.
            if matches!(error, RegistryError::Upload(UploadError::Unknown { .. }))
                && let Some(size) = self.stored_size(&transfer.session, digest).await
            {
                return Ok(self.stored(&transfer.session, digest, size));
            }
            return Err(self.after_failure(&transfer.session, error).await);
        }
        let verified = match transfer.session.hash.digest(digest.algorithm()) {
            Some(actual) if actual != *digest => {
                self.discard(&transfer.session).await;
                return Err(RegistryError::Blob(BlobError::DigestMismatch {
                    expected: digest.clone(),
                    actual,
                }));
            }
            computed => computed.is_some(),
        };
        let size = transfer.session.offset;
        if let Err(error) = transfer.flush(whole.then_some(size)).await {
            // As above.
            let lost = matches!(error, RegistryError::Upload(UploadError::Unknown { .. }));
            if !(lost && self.is_stored(&transfer.session, digest).await) {
                return Err(self.after_failure(&transfer.session, error).await);
            }
        } else if let Err(error) = self.complete_at_hold(&transfer.session, digest, verified).await {
            return Err(self.after_failure(&transfer.session, error).await);
        }
        Ok(self.stored(&transfer.session, digest, size))
    }

    /// Remembers that the hold has the blob, and that this session led to it.
    fn stored(&self, session: &UploadSession, digest: &Digest, size: u64) -> StoredBlob {
        self.blobs
            .remember(&session.hold, &session.did, place(session), digest, size);
        let blob = StoredBlob {
            digest: digest.clone(),
            size,
        };
        self.finished.insert(
            session.id.clone(),
            Finished {
                did: session.did.clone(),
                repository: session.repository.clone(),
                blob: blob.clone(),
            },
        );
        blob
    }

    /// What came of the session `id` if it was finished a short while ago, by the same user and under the same digest: its client
    /// may not have got the answer.
    pub(super) fn find_finished(
        &self,
        grant: &Granted<Push>,
        id: &UploadSessionId,
        digest: &Digest,
    ) -> Option<StoredBlob> {
        let finished = self.finished.get(id)?;
        let is_same = grant.principal().did() == Some(&finished.did)
            && grant.context().name == finished.repository
            && *digest == finished.blob.digest;
        is_same.then_some(finished.blob)
    }

    async fn complete_at_hold(
        &self,
        session: &UploadSession,
        digest: &Digest,
        verified: bool,
    ) -> Result<(), RegistryError> {
        let unknown = || {
            RegistryError::Upload(UploadError::Unknown {
                session: session.id.clone(),
            })
        };
        let remote = session.remote.as_ref().ok_or_else(unknown)?;
        // A hold that neither hashes nor is known to read what it is given would take anything for the blob.
        if !verified && !remote.traits.announced {
            return Err(RegistryError::Upload(UploadError::Invalid {
                reason: "say digest-algorithm=sha512 when starting the upload of a large blob".to_owned(),
            }));
        }
        let mut attempt = 1;
        loop {
            let error = match self.ask_to_complete(session, remote, digest, verified).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error {
                CallError::Hold(HoldError::UploadNotFound) => {
                    let stored = self.is_stored(session, digest).await;
                    return if stored { Ok(()) } else { Err(unknown()) };
                }
                CallError::Hold(HoldError::DigestRefused) => {
                    self.discard(session).await;
                    return Err(RegistryError::Blob(BlobError::DigestRefused {
                        hold: session.hold.did.clone(),
                        digest: digest.clone(),
                    }));
                }
                error if error.is_passing() && attempt < ATTEMPTS => {
                    tracing::warn!(hold.did = %session.hold.did, %digest, %error, "completion is asked for again");
                    attempt += 1;
                }
                error => return Err(error.at(&session.hold)),
            }
        }
    }

    async fn ask_to_complete(
        &self,
        session: &UploadSession,
        remote: &RemoteUpload,
        digest: &Digest,
        verified: bool,
    ) -> Result<(), CallError> {
        let hold = &session.hold;
        let vouch = verified && remote.traits.announced && !remote.traits.hashes;
        self.access
            .as_user(&session.principal(), hold, |token| async move {
                // Signed per attempt: such a statement lives for a minute only.
                let proof = vouch
                    .then(|| {
                        self.proofs
                            .prove(&hold.did, &session.did, &remote.id, digest, session.offset)
                    })
                    .flatten();
                let whole = WholeUpload {
                    upload_id: &remote.id,
                    repository: place(session).repository,
                    digest,
                    parts: &session.parts,
                    proof: proof.as_ref(),
                };
                self.gateway.complete_upload(hold, &token, &whole).await
            })
            .await
    }

    /// Whether the hold has the blob of this session already. A hold that cannot say does not have it.
    async fn is_stored(&self, session: &UploadSession, digest: &Digest) -> bool {
        self.stored_size(session, digest).await == Some(session.offset)
    }

    /// The size of the blob in the session's hold, if it is there.
    async fn stored_size(&self, session: &UploadSession, digest: &Digest) -> Option<u64> {
        let hold = &session.hold;
        let size = self
            .access
            .as_user(&session.principal(), hold, |token| async move {
                self.gateway
                    .stat(hold, place(session), digest, Some(&token))
                    .await
            })
            .await;
        size.ok().flatten()
    }
}

/// Whose upload it is: of the owner's own repository, since nobody else may push.
fn place(session: &UploadSession) -> Place<'_> {
    Place {
        owner: &session.did,
        repository: session.repository.image(),
    }
}
