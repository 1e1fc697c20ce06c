//! Pushing a blob: sessions that take in bytes in order and end in a digest.
//!
//! | Module | Holds |
//! |---|---|
//! | [`session`] | the state between two requests |
//! | [`resume`] | whose session it is, and that one request at a time goes on with it |
//! | [`transfer`] | one request's bytes on their way to the store |
//! | [`complete`] | the end: digests compared, the blob made visible |
//! | [`discard`] | giving a session up, here and at the hold |
//! | [`sweep`] | sessions that were not finished |
//! | [`mount`] | taking a blob from another repository, without bytes |
//! | [`announced_length`], [`schedule`], [`hash`], [`chunks`], [`part_stream`], [`part_sender`], [`claims`] | the pieces of those |
//!
//! Every request is all or nothing: it takes a session from one acknowledged offset to the next, or leaves it where it was. So
//! dropping a request at any point (the client is gone, the process is killed) needs no repair.

mod announced_length;
pub mod chunks;
pub mod claims;
mod complete;
mod discard;
pub mod error;
pub mod hash;
pub mod mount;
mod part_sender;
mod part_stream;
pub mod ports;
mod resume;
pub mod schedule;
pub mod session;
mod sweep;
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::{Algorithm, Digest, UploadSessionId};
use atcr_server::shared_places::SharedPlaces;

use crate::access::{Granted, Push};
use crate::blob::Blobs;
use crate::blob::ports::{BlobGateway, ByteStream, StoreTraits};
use crate::error::{AccessError, BlobError, RegistryError, UploadError};
use crate::hold::credentials::HoldAccess;
use crate::hold::ports::{HoldDirectory, HoldTokens};
use crate::upload::announced_length::{check_range, check_received};
use crate::upload::chunks::ChunkReader;
use crate::upload::claims::SessionGuards;
use crate::upload::complete::FinishedSessions;
use crate::upload::ports::{ContentProofs, Spool, UploadSessions};
use crate::upload::session::{SESSION_LIFE, UploadSession};
use crate::upload::transfer::Transfer;

pub use crate::upload::sweep::Swept;

/// Stores of holds remembered at once, and for how long.
const REMEMBERED_STORES: u64 = 10_000;
const REMEMBER_STORE: Duration = Duration::from_hours(1);

/// When a client whose account has too many unfinished uploads is to try again.
const FEWER_UPLOADS_AFTER: Duration = Duration::from_mins(1);

/// Bytes of a refused body that are still read, so that the client gets to see why: a connection that is closed on a client that is
/// sending often takes the answer with it.
const DRAIN_BYTES: u64 = 1024 * 1024;

/// What [`Uploads`] works with.
pub struct UploadParts {
    /// Which hold a push goes to.
    pub directory: Arc<dyn HoldDirectory>,
    /// Service tokens of users.
    pub tokens: Arc<dyn HoldTokens>,
    /// The holds.
    pub gateway: Arc<dyn BlobGateway>,
    /// Sessions over restarts.
    pub sessions: Arc<dyn UploadSessions>,
    /// Bytes that are not a part yet.
    pub spool: Arc<dyn Spool>,
    /// The appview's word for content.
    pub proofs: Arc<dyn ContentProofs>,
    /// Reading, for mounts.
    pub blobs: Arc<Blobs>,
    /// The accounts that mounts name.
    pub identities: Arc<dyn IdentityResolver>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How long a client may send nothing in the middle of a body.
    pub body_idle: Duration,
    /// Unfinished sessions that one account may have.
    pub sessions_per_account: u32,
}

/// The bytes of one request.
pub struct UploadBody {
    /// `Content-Length`, when the client gave one.
    pub len: Option<u64>,
    /// `Content-Range`: offsets of the first and the last byte, both inclusive.
    pub range: Option<(u64, u64)>,
    /// The bytes.
    pub bytes: ByteStream,
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadProgress {
    /// The session.
    pub session: UploadSessionId,
    /// Bytes taken in.
    pub offset: u64,
}

/// A blob that is now in its hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its digest, as the client named it.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The upload use cases.
pub struct Uploads {
    pub(super) directory: Arc<dyn HoldDirectory>,
    gateway: Arc<dyn BlobGateway>,
    access: HoldAccess,
    sessions: Arc<dyn UploadSessions>,
    spool: Arc<dyn Spool>,
    proofs: Arc<dyn ContentProofs>,
    pub(super) blobs: Arc<Blobs>,
    pub(super) identities: Arc<dyn IdentityResolver>,
    clock: Arc<dyn Clock>,
    body_idle: Duration,
    sessions_per_account: u32,
    /// Uploads in one request that are under way.
    wholes: SharedPlaces,
    guards: SessionGuards,
    stores: moka::sync::Cache<Did, StoreTraits>,
    finished: FinishedSessions,
    /// Random name of this run of the program.
    run: i64,
}

impl Uploads {
    /// Puts the use cases together.
    #[must_use]
    pub fn new(parts: UploadParts) -> Self {
        let stores = moka::sync::Cache::builder();
        Self {
            directory: parts.directory,
            gateway: parts.gateway,
            access: HoldAccess::new(parts.tokens),
            sessions: parts.sessions,
            spool: parts.spool,
            proofs: parts.proofs,
            blobs: parts.blobs,
            identities: parts.identities,
            clock: parts.clock,
            body_idle: parts.body_idle,
            sessions_per_account: parts.sessions_per_account,
            wholes: SharedPlaces::new(
                usize::MAX,
                usize::try_from(parts.sessions_per_account).unwrap_or(usize::MAX),
            ),
            guards: SessionGuards::default(),
            stores: stores
                .max_capacity(REMEMBERED_STORES)
                .time_to_live(REMEMBER_STORE)
                .build(),
            finished: complete::finished_sessions(),
            run: rand::random(),
        }
    }

    /// Starts a session. The hold is not told before the first byte: most sessions that come to nothing end here.
    ///
    /// `algorithm` is what the client says it will finish with; without it SHA-256 is certain to be computed and SHA-512 for
    /// small blobs.
    ///
    /// # Errors
    /// Those of [`HoldDirectory::for_push`]; `TooManyUploads` when the account has as many unfinished ones as it may have.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-4a.
    pub async fn start(
        &self,
        grant: &Granted<Push>,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadProgress, RegistryError> {
        let session = self.new_session(grant, algorithm).await?;
        let most = self.sessions_per_account;
        if !self.sessions.insert(&session, most).await? {
            return Err(RegistryError::Upload(UploadError::TooMany {
                most,
                retry_after: FEWER_UPLOADS_AFTER,
            }));
        }
        Ok(UploadProgress {
            session: session.id,
            offset: 0,
        })
    }

    /// Takes in a blob in one request, without a session that outlives it.
    ///
    /// # Errors
    /// Those of [`Uploads::complete`] and of [`Uploads::start`].
    ///
    /// # Spec
    /// distribution-spec v1.1, end-4b.
    pub async fn put_whole(
        &self,
        grant: &Granted<Push>,
        digest: &Digest,
        body: UploadBody,
    ) -> Result<StoredBlob, RegistryError> {
        let session = self.new_session(grant, Some(digest.algorithm())).await?;
        // No session is written down for it, so it is counted here.
        let _place = self
            .wholes
            .try_acquire(session.did.as_str())
            .ok_or(RegistryError::Upload(UploadError::TooMany {
                most: self.sessions_per_account,
                retry_after: FEWER_UPLOADS_AFTER,
            }))?;
        let _guard = self.claim(&session.id)?;
        let mut transfer = Transfer::new(self, session, false);
        let stored = self.finish(&mut transfer, digest, body).await;
        match &stored {
            Ok(_) => self.spool.discard(&transfer.session.id).await?,
            Err(RegistryError::Blob(BlobError::DigestMismatch { .. } | BlobError::DigestRefused { .. })) => {}
            Err(_) => self.discard(&transfer.session).await,
        }
        stored
    }

    /// Takes in the next bytes of a session.
    ///
    /// # Errors
    /// - `UploadUnknown`: no such session, expired, of another account or of another repository; or the hold forgot it.
    /// - `UploadBusy`: another request is at it.
    /// - `ChunkOutOfOrder`: the body's range does not begin at the session's offset.
    /// - `SizeInvalid`: the body is not as long as it said.
    /// - `SpoolQuota`, `SpoolFull`: there is no room for bytes that are not in a part yet.
    /// - `BodyInterrupted`, and the hold's errors: the session stands where it stood before.
    ///
    /// # Cancel safety
    /// Until the last step the session stands where it stood before.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-5.
    pub async fn append(
        &self,
        grant: &Granted<Push>,
        id: &UploadSessionId,
        body: UploadBody,
    ) -> Result<UploadProgress, RegistryError> {
        let (session, _guard) = self.resume(grant, id).await?;
        let mut reader = ChunkReader::new(body.bytes, self.body_idle);
        let mut transfer = Transfer::new(self, session, true);
        let taken = match check_range(&transfer.session, body.len, body.range) {
            Ok(()) => transfer.take_in(&mut reader, body.len, false).await,
            Err(error) => Err(error),
        };
        let taken = taken.and_then(|()| check_received(&reader, body.len, body.range));
        if let Err(error) = taken {
            reader.drain(DRAIN_BYTES).await;
            return Err(self.after_failure(&transfer.session, error).await);
        }
        self.advance(transfer, reader.received()).await
    }

    /// Where a session stands.
    ///
    /// # Errors
    /// `UploadUnknown`, as for [`Uploads::append`].
    ///
    /// # Spec
    /// distribution-spec v1.1, end-13.
    pub async fn status(
        &self,
        grant: &Granted<Push>,
        id: &UploadSessionId,
    ) -> Result<UploadProgress, RegistryError> {
        let session = self.require(grant, id).await?;
        Ok(UploadProgress {
            session: session.id,
            offset: session.offset,
        })
    }

    /// Takes in the last bytes of a session, if there are any, and makes the blob readable under `digest`. Repeating it after a
    /// lost answer is safe.
    ///
    /// # Errors
    /// - `DigestMismatch`, `DigestRefused`: the bytes hash to something else; the session is gone.
    /// - the others of [`Uploads::append`]: the session stands where it stood before.
    ///
    /// # Cancel safety
    /// Before the hold has completed the upload the session survives; afterwards the blob exists, and the session is found
    /// complete by a repetition or swept later.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-6.
    pub async fn complete(
        &self,
        grant: &Granted<Push>,
        id: &UploadSessionId,
        digest: &Digest,
        body: UploadBody,
    ) -> Result<StoredBlob, RegistryError> {
        let (session, _guard) = match self.resume(grant, id).await {
            Err(unknown @ RegistryError::Upload(UploadError::Unknown { .. })) => {
                return self.find_finished(grant, id, digest).ok_or(unknown);
            }
            resumed => resumed?,
        };
        let stored = self
            .finish(&mut Transfer::new(self, session, true), digest, body)
            .await?;
        self.forget(id).await;
        Ok(stored)
    }

    /// Gives a session up, at the hold as well.
    ///
    /// # Errors
    /// `UploadUnknown` and `UploadBusy`, as for [`Uploads::append`]. A hold that cannot be told expires the upload by itself.
    ///
    /// # Spec
    /// distribution-spec v1.1, end-14.
    pub async fn cancel(&self, grant: &Granted<Push>, id: &UploadSessionId) -> Result<(), RegistryError> {
        // Claimed first: a request that ends in between would leave a session that is read too early.
        let _guard = self.claim(id)?;
        let session = self.require(grant, id).await?;
        self.discard(&session).await;
        Ok(())
    }

    async fn new_session(
        &self,
        grant: &Granted<Push>,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadSession, RegistryError> {
        let Principal::Sailor { did, auth_method } = grant.principal() else {
            return Err(RegistryError::Access(AccessError::SignInRequired));
        };
        let hold = self.directory.for_push(grant).await?;
        let owner = (did.clone(), *auth_method);
        let name = grant.context().name.clone();
        Ok(UploadSession::start(
            owner,
            name,
            hold,
            algorithm,
            self.run,
            self.clock.now(),
        ))
    }

    /// Makes the working copy the session's state.
    async fn advance(&self, transfer: Transfer<'_>, received: u64) -> Result<UploadProgress, RegistryError> {
        let (kept_part, mut session) = (transfer.kept_part, transfer.session);
        if received > 0 {
            session.written_by = self.run;
            session.expires_at = self.clock.now() + SESSION_LIFE;
            if !self.sessions.advance(&session).await? {
                return Err(RegistryError::Upload(UploadError::Unknown {
                    session: session.id,
                }));
            }
            if let Some(kept) = kept_part.filter(|kept| *kept < session.next_part()) {
                self.spool.discard_part(&session.id, kept).await?;
            }
        }
        Ok(UploadProgress {
            session: session.id,
            offset: session.offset,
        })
    }

    /// A session that the hold no longer knows cannot go on; the client is to start again.
    async fn after_failure(&self, session: &UploadSession, error: RegistryError) -> RegistryError {
        if matches!(error, RegistryError::Upload(UploadError::Unknown { .. })) {
            self.forget(&session.id).await;
        }
        error
    }
}
