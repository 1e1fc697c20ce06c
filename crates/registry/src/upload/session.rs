//! The state of one upload between two requests.

use atcr_atproto::syntax::Did;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_oci::{Algorithm, Digest, RepositoryName, UploadSessionId};
use chrono::{DateTime, Duration, Utc};

use crate::blob::ports::{StoreTraits, UploadedPart};
use crate::hold::ports::HoldRef;
use crate::upload::hash::UploadHash;

/// How long a session lives after the last byte it took in. Holds give up idle uploads after the same time.
pub const SESSION_LIFE: Duration = Duration::hours(24);

/// An upload as the hold knows it.
#[derive(Clone, Debug)]
pub struct RemoteUpload {
    /// The hold's name for it.
    pub id: String,
    /// The store that it goes to.
    pub traits: StoreTraits,
}

/// One upload session: whose it is, where it goes and how far it has come. What it says is true at a request's end; a request
/// that fails leaves it where it was.
#[derive(Clone)]
pub struct UploadSession {
    /// Name of the session, in the path of its `Location`.
    pub id: UploadSessionId,
    /// Whose session it is. No other account may touch it.
    pub did: Did,
    /// How that user signed in, so that the sweeper can still ask for a service token.
    pub auth_method: AuthMethod,
    /// The repository that it was started in.
    pub repository: RepositoryName,
    /// Where the blob goes; fixed at the start.
    pub hold: HoldRef,
    /// The upload at the hold, once there is one: it is begun with the first bytes.
    pub remote: Option<RemoteUpload>,
    /// Bytes taken in, and so the offset of the next one.
    pub offset: u64,
    /// Digests of the bytes taken in.
    pub hash: UploadHash,
    /// The same where the tail begins: with it the tail in the spool can be checked.
    pub tail_hash: UploadHash,
    /// The parts that the store has, numbered from 1 without gaps.
    pub parts: Vec<UploadedPart>,
    /// The run of this program that last moved the session: the spool is checked when that was another one.
    pub written_by: i64,
    /// When the session ends unless more bytes come.
    pub expires_at: DateTime<Utc>,
}

impl UploadSession {
    /// A session that has not seen a byte.
    #[must_use]
    pub fn start(
        owner: (Did, AuthMethod),
        repository: RepositoryName,
        hold: HoldRef,
        algorithm: Option<Algorithm>,
        written_by: i64,
        now: DateTime<Utc>,
    ) -> Self {
        let hash = UploadHash::new(algorithm);
        Self {
            id: UploadSessionId::random(),
            did: owner.0,
            auth_method: owner.1,
            repository,
            hold,
            remote: None,
            offset: 0,
            tail_hash: hash.clone(),
            hash,
            parts: Vec::new(),
            written_by,
            expires_at: now + SESSION_LIFE,
        }
    }

    /// Says before the first byte which digest the bytes will have, so that only its algorithm is computed.
    pub fn expect_digest(&mut self, digest: &Digest) {
        self.hash = UploadHash::new(Some(digest.algorithm()));
        self.tail_hash = self.hash.clone();
    }

    /// The user as a principal, for tokens to the hold.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::Sailor {
            did: self.did.clone(),
            auth_method: self.auth_method,
        }
    }

    /// Bytes that are in acknowledged parts.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// Bytes that wait in the spool for their part to fill.
    #[must_use]
    pub fn tail_len(&self) -> u64 {
        self.offset.saturating_sub(self.stored())
    }

    /// Number of the part that the next byte belongs to.
    #[must_use]
    pub fn next_part(&self) -> u32 {
        u32::try_from(self.parts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    /// Whether the bytes that led to `tail_hash`, which began where the tail begins, lead to where the session stands.
    ///
    /// The spool is not forced to disk, so after a power failure it may hold less or other bytes than the session says. Whoever
    /// takes a session up after a restart checks, since the digests alone would vouch for bytes that are no longer there.
    #[must_use]
    pub fn tail_is_intact(&self, tail_hash: &UploadHash) -> bool {
        tail_hash.save() == self.hash.save()
    }
}
