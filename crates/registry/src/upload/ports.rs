//! What the upload use case needs besides a hold: a place for its sessions, a place for bytes that are not a part yet, and
//! statements that vouch for content.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, UploadSessionId};
use atcr_server::pieces::Piece;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::blob::ports::PartBody;
use crate::error::{RegistryError, UploadError};
use crate::upload::session::{RemoteUpload, UploadSession};

/// Keeps upload sessions over restarts.
#[async_trait]
pub trait UploadSessions: Send + Sync {
    /// Stores a new session, unless its account has `most` already: then the answer is `false`.
    async fn insert(&self, session: &UploadSession, most: u32) -> Result<bool, RegistryError>;

    /// The session of this name, expired or not.
    async fn get(&self, id: &UploadSessionId) -> Result<Option<UploadSession>, RegistryError>;

    /// Notes that the upload has been begun at the hold; nothing else of the session changes. `false` when it is gone.
    async fn begun(&self, id: &UploadSessionId, remote: &RemoteUpload) -> Result<bool, RegistryError>;

    /// Moves a stored session to the given state, all of it or nothing. Parts only ever grow. A session that is gone stays
    /// gone: the answer is then `false`.
    async fn advance(&self, session: &UploadSession) -> Result<bool, RegistryError>;

    /// Forgets a session; repeating it is harmless.
    async fn remove(&self, id: &UploadSessionId) -> Result<(), RegistryError>;

    /// Up to `limit` sessions whose time ended before `now`, the longest expired first.
    async fn expired(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<UploadSession>, RegistryError>;

    /// Which of `ids` exist.
    async fn existing(&self, ids: &[UploadSessionId]) -> Result<Vec<UploadSessionId>, RegistryError>;
}

/// Keeps bytes of a session until they make a part. They live outside of the process, so that memory stays flat and a restart
/// loses nothing; they are not forced to disk, see [`UploadSession::tail_is_intact`].
#[async_trait]
pub trait Spool: Send + Sync {
    /// Opens the bytes of part `part` for appending after the first `keep` bytes; whatever follows them is cut off. What is appended
    /// counts for the account `owner`. Fails with
    /// [`io::ErrorKind::UnexpectedEof`] when there are fewer.
    async fn append_to(
        &self,
        owner: &Did,
        session: &UploadSessionId,
        part: u32,
        keep: u64,
    ) -> io::Result<Box<dyn SpoolWriter>>;

    /// Reads the first `len` bytes of a part.
    async fn read(&self, session: &UploadSessionId, part: u32, len: u64) -> io::Result<PartBody>;

    /// Drops the bytes of one part; repeating it is harmless.
    async fn discard_part(&self, session: &UploadSessionId, part: u32) -> io::Result<()>;

    /// Drops everything of a session; repeating it is harmless.
    async fn discard(&self, session: &UploadSessionId) -> io::Result<()>;

    /// The sessions of which something is kept.
    async fn sessions(&self) -> io::Result<Vec<UploadSessionId>>;
}

/// Why bytes are not spooled.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The account has as much in the spool as it may have.
    #[error("the account has {limit} bytes in the spool")]
    AccountFull {
        /// How much that is, in bytes.
        limit: u64,
    },
    /// All accounts together have as much in the spool as they may have.
    #[error("the spool is full")]
    Full,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// When a client whose bytes found no room is to try again.
const ROOM_AFTER: Duration = Duration::from_secs(30);

impl From<SpoolError> for RegistryError {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::AccountFull { limit } => UploadError::SpoolQuota {
                limit,
                retry_after: ROOM_AFTER,
            }
            .into(),
            SpoolError::Full => UploadError::SpoolFull {
                retry_after: ROOM_AFTER,
            }
            .into(),
            SpoolError::Disk(error) => error.into(),
        }
    }
}

/// Appends to one part of the spool.
#[async_trait]
pub trait SpoolWriter: Send {
    /// Appends `piece`. May return before it is written: an error then comes out of the next call.
    async fn append(&mut self, piece: Piece) -> Result<(), SpoolError>;

    /// Returns once everything appended can be read.
    async fn flush(&mut self) -> io::Result<()>;
}

/// The appview's signed word that an upload's bytes hash to its digest.
pub trait ContentProofs: Send + Sync {
    /// A statement for `hold` about `upload_id` of `user`: its `size` bytes hash to `digest`. `None` when it cannot be signed; the
    /// hold then looks for itself.
    fn prove(
        &self,
        hold: &Did,
        user: &Did,
        upload_id: &str,
        digest: &Digest,
        size: u64,
    ) -> Option<SecretString>;
}
