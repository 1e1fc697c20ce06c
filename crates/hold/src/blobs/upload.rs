//! An upload from its beginning to its end.
//!
//! ```text
//! initiate ─► running ─(parts go to the store)─► assembled ─► verified ─► published = finished
//!                │                                   └─ wrong digest ─┐
//!                └──────────── abort, sweep ──────────────────────────┴─► gone
//! ```
//! Only `running`, `finished` and `gone` are recorded, and whether the end was promised (see [`late_completion`](super::late_completion)). After a
//! crash the steps in between are repeated, since every step of the store may be repeated.

use std::sync::Arc;

use atcr_atproto::syntax::Did;
use atcr_oci::{Algorithm, Digest};
use atcr_server::supervise::Task;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::ports::{
    FinishedUpload, MAX_PART_NUMBER, PartTag, PartUrl, StoreTraits, StoreUpload, UploadSession,
};
use super::{BlobError, BlobService, ObjectKey, Promised, Purpose, Shared, StoreError};

/// Joining, checking and publishing, in logs and metrics.
pub(super) const COMPLETION: Task = Task::new("complete_upload");

/// In bytes. The lexicon says 128, which a sha512 digest is longer than.
const MAX_IDENTIFIER_LEN: usize = 256;
/// Each part asks for a URL; noting every one of them would be a write per part.
const TOUCH_INTERVAL: TimeDelta = TimeDelta::minutes(10);

/// An upload that has begun.
#[derive(Clone, Debug)]
pub struct Initiated {
    /// Names the upload from now on; 43 characters, unguessable, valid only for the account that began it.
    pub upload_id: String,
    /// How to cut the parts.
    pub store: StoreTraits,
    /// Where part 1 goes.
    pub first_part: PartUrl,
}

/// A trusted AppView has said, of this upload and digest, that the bytes it sent match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentProof {
    /// How many bytes it sent.
    pub size: u64,
}

/// A blob that is readable under its digest, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Length in bytes.
    pub size: u64,
    /// The blob is promised: it is still being joined, read or copied, and only its uploader is told that it exists.
    pub is_promised: bool,
}

/// What `completeUpload` asks for.
#[derive(Clone, Debug)]
pub(super) struct Completion {
    pub(super) owner: Did,
    pub(super) upload_id: String,
    pub(super) digest: Digest,
    pub(super) parts: Vec<PartTag>,
    pub(super) vouched: Option<ContentProof>,
}

impl BlobService {
    /// Begins an upload for `owner`. `identifier` is the uploader's own name for it, used only to choose the algorithm: the
    /// prefix `sha512:` announces SHA-512. `size` is a hint.
    ///
    /// # Errors
    /// - `InvalidIdentifier`: empty, longer than 256 bytes, or not path-safe
    /// - `Store`, `Sessions`: try again
    ///
    /// # Security
    /// The object's key is made here, never taken from `identifier`: no two uploads share one, and none is a content
    /// address.
    pub async fn initiate(
        &self,
        owner: &Did,
        identifier: &str,
        size: Option<u64>,
    ) -> Result<Initiated, BlobError> {
        let shared = &*self.shared;
        if !is_path_safe(identifier) {
            return Err(BlobError::InvalidIdentifier);
        }
        let algorithm = match identifier.split_once(':') {
            Some(("sha512", _)) => Algorithm::Sha512,
            _ => Algorithm::Sha256,
        };
        let key = ObjectKey::upload(Uuid::new_v4());
        let upload = shared.store.begin(&key, algorithm).await?;
        let session = UploadSession {
            id: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()),
            owner: owner.clone(),
            upload,
            last_used_at: shared.clock.now(),
            finished: None,
        };
        // Only the store knows of the upload until the row is written: if that fails, the sweep removes it.
        shared.sessions.insert(&session).await?;
        tracing::debug!(did = %owner, identifier, ?size, object.key = %key, "upload begun");
        Ok(Initiated {
            upload_id: session.id,
            store: shared.store.traits(),
            first_part: shared.sign_part(&session.upload, 1).await?,
        })
    }

    /// A URL for one part, valid for 15 minutes. The same part may be asked for again.
    ///
    /// # Errors
    /// - `InvalidPartNumber`: not 1 … 10,000
    /// - `InvalidUploadId`: unknown, another account's, or finished
    /// - `Store`, `Sessions`: try again
    pub async fn part_url(
        &self,
        owner: &Did,
        upload_id: &str,
        part_number: u32,
    ) -> Result<PartUrl, BlobError> {
        let shared = &*self.shared;
        if part_number == 0 || part_number > MAX_PART_NUMBER {
            return Err(BlobError::InvalidPartNumber(part_number));
        }
        let session = shared.require_session(owner, upload_id).await?;
        if session.finished.is_some() || shared.sessions.promise_of(upload_id).await?.is_some() {
            return Err(BlobError::InvalidUploadId);
        }
        let now = shared.clock.now();
        if now - session.last_used_at >= TOUCH_INTERVAL {
            shared.sessions.touch(upload_id, now).await?;
        }
        shared.sign_part(&session.upload, part_number).await
    }

    /// Joins the parts, makes sure that they hash to `digest`, and makes them readable under it. With `vouched`, a store that
    /// does not hash is not read back.
    ///
    /// Work that takes longer than [`BlobOptions::patience`](super::BlobOptions) is promised: the answer comes before the work is
    /// done, and the work goes on, also after a restart (see [`late_completion`](super::late_completion)).
    ///
    /// A repetition, after a lost answer or at the same time, gives the same answer. A blob that already exists is kept
    /// and never written again.
    ///
    /// # Errors
    /// - `InvalidUploadId`: unknown, another account's, or finished with another digest
    /// - `MissingParts`: none, out of order, or not those that were sent; the upload stays
    /// - `DigestMismatch`: the bytes are something else; the upload is gone
    /// - `Store`, `Sessions`, `Interrupted`: try again
    ///
    /// # Cancel safety
    /// The work goes on when this future is dropped; a repetition waits for it.
    pub async fn complete(
        &self,
        owner: &Did,
        upload_id: &str,
        digest: &Digest,
        parts: &[PartTag],
        vouched: Option<ContentProof>,
    ) -> Result<Completed, BlobError> {
        check_parts(parts)?;
        let completion = Completion {
            owner: owner.clone(),
            upload_id: upload_id.to_owned(),
            digest: digest.clone(),
            parts: parts.to_vec(),
            vouched,
        };
        let answering = self.shared.clone().complete_or_promise(completion);
        let answer = self.shared.options.tasks.spawn(answering).await;
        answer.unwrap_or(Err(BlobError::Interrupted))
    }

    /// Aborts the upload and removes its bytes.
    ///
    /// # Errors
    /// - `InvalidUploadId`: unknown, another account's, or finished
    /// - `Store`, `Sessions`: try again
    pub async fn abort(&self, owner: &Did, upload_id: &str) -> Result<(), BlobError> {
        let shared = &*self.shared;
        shared.require_session(owner, upload_id).await?;
        // Not behind the lock, which an open promise holds for long.
        if shared.sessions.promise_of(upload_id).await?.is_some() {
            return Err(BlobError::InvalidUploadId);
        }
        let _ending = shared.endings.lock(upload_id).await;
        let session = shared.require_session(owner, upload_id).await?;
        if session.finished.is_some() {
            return Err(BlobError::InvalidUploadId);
        }
        shared.forget(&session).await
    }
}

impl Shared {
    /// Spawns one attempt at `completion`, which says through `measured` how long the blob will be as soon as that is known.
    pub(super) fn attempt(
        self: &Arc<Self>,
        completion: Completion,
        measured: watch::Sender<Option<u64>>,
    ) -> JoinHandle<Result<u64, BlobError>> {
        let shared = self.clone();
        self.options.tasks.spawn(async move {
            let completing = shared.complete(&completion, &measured);
            let outcome = COMPLETION.catch(&completion.digest, completing).await;
            outcome.unwrap_or(Err(BlobError::Interrupted))
        })
    }

    /// Completes an upload; the blob's length in bytes.
    async fn complete(
        &self,
        completion: &Completion,
        measured: &watch::Sender<Option<u64>>,
    ) -> Result<u64, BlobError> {
        let Completion {
            owner,
            upload_id,
            digest,
            ..
        } = completion;
        let _ending = self.endings.lock(upload_id).await;
        let session = self.require_session(owner, upload_id).await?;
        if let Some(finished) = session.finished {
            if finished.digest != *digest {
                return Err(BlobError::InvalidUploadId);
            }
            // It may have been removed since, if nothing came to name it.
            return match self.find(digest, Purpose::Kept).await? {
                Some(_) => Ok(finished.size),
                None => Err(BlobError::InvalidUploadId),
            };
        }
        let size = match self.assemble_and_publish(&session, completion, measured).await {
            // A crash after the blob was published and before that was noted: the store has nothing left of the upload.
            Err(BlobError::InvalidUploadId) => match self.find(digest, Purpose::Kept).await? {
                Some((_, object)) => object.size,
                None => {
                    self.sessions.remove(upload_id).await?;
                    return Err(BlobError::InvalidUploadId);
                }
            },
            Err(mismatch @ BlobError::DigestMismatch { .. }) => {
                tracing::warn!(did = %owner, %digest, "the content of an upload is not what it was said to be");
                self.forget(&session).await?;
                return Err(mismatch);
            }
            outcome => outcome?,
        };
        let finished = FinishedUpload {
            digest: digest.clone(),
            size,
        };
        self.sessions
            .finish(upload_id, &finished, self.clock.now())
            .await?;
        // Again: publishing takes its time, and the answer is a promise of this moment.
        self.keep_blob(digest).await?;
        tracing::debug!(did = %owner, %digest, size_bytes = size, "blob stored");
        Ok(size)
    }

    async fn assemble_and_publish(
        &self,
        session: &UploadSession,
        completion: &Completion,
        measured: &watch::Sender<Option<u64>>,
    ) -> Result<u64, BlobError> {
        let upload = &session.upload;
        let Completion {
            digest,
            parts,
            vouched,
            ..
        } = completion;
        if measured.borrow().is_none() && !self.store.traits().hashes {
            measured.send_replace(self.measure(upload, parts, *vouched).await?);
        }
        let assembled = self.store.assemble(upload, parts).await?;
        measured.send_replace(Some(assembled.size));
        let is_vouched_for =
            !self.store.traits().hashes && vouched.is_some_and(|proof| proof.size == assembled.size);
        if !is_vouched_for {
            let actual = self
                .verifier
                .actual_digest(&*self.store, upload, &assembled, digest.algorithm())
                .await?;
            if actual != *digest {
                return Err(BlobError::DigestMismatch {
                    claimed: digest.clone(),
                    actual,
                });
            }
        }
        // Before the store looks whether it has the blob already.
        self.keep_blob(digest).await?;
        self.store
            .publish(upload, &assembled, &ObjectKey::blob(digest))
            .await?;
        Ok(assembled.size)
    }

    /// Takes a condemnation from a blob whose bytes were sent.
    pub(super) async fn keep_blob(&self, digest: &Digest) -> Result<(), BlobError> {
        match self.options.standings.promise(digest, Purpose::Kept).await? {
            Promised::Yes => Ok(()),
            Promised::No => Err(BlobError::BeingRemoved),
        }
    }

    /// The length of what will be assembled, so that it can be promised while a slow service joins it.
    async fn measure(
        &self,
        upload: &StoreUpload,
        parts: &[PartTag],
        vouched: Option<ContentProof>,
    ) -> Result<Option<u64>, BlobError> {
        if let Some(proof) = vouched {
            return Ok(Some(proof.size));
        }
        match self.store.measure(upload, parts).await {
            Ok(size) => Ok(size),
            Err(error @ StoreError::Unavailable { .. }) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the parts of an upload cannot be measured; it is promised only after they are joined"
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn require_session(
        &self,
        owner: &Did,
        upload_id: &str,
    ) -> Result<UploadSession, BlobError> {
        match self.sessions.get(upload_id).await? {
            Some(session) if session.owner == *owner => Ok(session),
            _ => Err(BlobError::InvalidUploadId),
        }
    }

    async fn sign_part(&self, upload: &StoreUpload, part_number: u32) -> Result<PartUrl, BlobError> {
        let expires_at = self.clock.now() + self.options.part_url_lifetime;
        Ok(self.store.part_url(upload, part_number, expires_at).await?)
    }

    /// The bytes first: a row without bytes is swept, bytes without a row only after a listing.
    pub(super) async fn forget(&self, session: &UploadSession) -> Result<(), BlobError> {
        self.store.discard(&session.upload).await?;
        Ok(self.sessions.remove(&session.id).await?)
    }
}

fn is_path_safe(identifier: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    !identifier.is_empty()
        && identifier.len() <= MAX_IDENTIFIER_LEN
        && identifier.bytes().all(allowed)
        && !identifier.contains("..")
        && !identifier.starts_with('/')
}

/// Numbers rise; a gap is found by the store, which knows the parts.
fn check_parts(parts: &[PartTag]) -> Result<(), BlobError> {
    let missing = |reason: &str| {
        Err(BlobError::MissingParts {
            reason: reason.to_owned(),
        })
    };
    if parts.is_empty() {
        return missing("none is named; an empty blob is one part of 0 bytes");
    }
    if !parts.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return missing("the numbers do not rise");
    }
    match parts
        .iter()
        .find(|part| !(1..=MAX_PART_NUMBER).contains(&part.part_number))
    {
        Some(part) => Err(BlobError::InvalidPartNumber(part.part_number)),
        None => Ok(()),
    }
}
