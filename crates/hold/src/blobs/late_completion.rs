//! Promises: completions that are acknowledged before they are done.
//!
//! Joining, reading and copying a layer of some GiB takes longer than an uploader waits. After
//! [`BlobOptions::patience`](super::BlobOptions) the upload's row gets a promise, which is synced before the answer, and the work
//! goes on:
//!
//! ```text
//! running ─► promised ─► published = finished     the promise is kept
//!                └────── not the digest, lost ──► gone, and the log says so loudly
//! ```
//! While the promise is open its owner is told that the blob exists, and nobody else is. Nothing is readable under the digest
//! before the bytes are known to hash to it, as without a promise. What fails for a while is tried again, with longer pauses. A
//! restart finds the open promises in the table. What is repeated then is safe to repeat, as after any crash.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_server::supervise::Task;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::ports::{FinishedUpload, Promise, PromiseLimits, PromisedBlob};
use super::upload::{Completed, Completion};
use super::{BlobError, BlobService, Purpose, Shared};

/// Keeping promises, in logs and metrics.
pub(crate) const KEEPER: Task = Task::new("keep_promises");

/// Promises that may be open; beyond that, uploaders wait until the work is done.
const LIMITS: PromiseLimits = PromiseLimits {
    per_account: 100,
    in_all: 1_000,
};

/// Promises that a restart works on at the same time.
const RESUMED_AT_ONCE: usize = 4;

/// Between two attempts, at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Counts promises; label `outcome`: `made`, `kept`, `broken`.
const PROMISES: &str = "hold_promises_total";
const STORED: &str = "hold_blobs_stored_total";
const BYTES_STORED: &str = "hold_blob_bytes_stored_total";

/// The promises that this process works on.
#[derive(Debug)]
pub(super) struct Keeping {
    /// By the upload's name.
    uploads: Mutex<HashSet<String>>,
    resumed: Semaphore,
    /// Counts the promises that were closed.
    closed: watch::Sender<u64>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            uploads: Mutex::default(),
            resumed: Semaphore::new(RESUMED_AT_ONCE),
            closed: watch::Sender::new(0),
        }
    }
}

/// A promise that is worked on, until this is dropped.
struct Kept {
    shared: Arc<Shared>,
    upload_id: String,
}

impl Kept {
    /// `None` if the promise of `upload_id` is worked on already.
    fn claim(shared: &Arc<Shared>, upload_id: &str) -> Option<Self> {
        let mut uploads = shared
            .keeping
            .uploads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        uploads.insert(upload_id.to_owned()).then(|| Self {
            shared: shared.clone(),
            upload_id: upload_id.to_owned(),
        })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let keeping = &self.shared.keeping;
        let mut uploads = keeping.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.remove(&self.upload_id);
    }
}

type Attempt = JoinHandle<Result<u64, BlobError>>;

impl Completion {
    fn of(promise: &Promise) -> Self {
        Self {
            owner: promise.owner.clone(),
            upload_id: promise.upload_id.clone(),
            digest: promise.digest.clone(),
            parts: promise.parts.clone(),
            vouched: promise.vouched,
        }
    }
}

impl Shared {
    /// Completes an upload, or promises to.
    pub(super) async fn complete_or_promise(
        self: Arc<Self>,
        completion: Completion,
    ) -> Result<Completed, BlobError> {
        let upload_id = &completion.upload_id;
        // Looked up before anything waits for a lock, so that only the owner can make others wait.
        self.require_session(&completion.owner, upload_id).await?;
        if let Some(promise) = self.sessions.promise_of(upload_id).await? {
            return answer_again(&promise, &completion.digest);
        }
        let (measured, mut size) = watch::channel(None);
        let mut attempt = self.attempt(completion.clone(), measured);
        // A store that hashes by itself has nothing left to do.
        if self.store.traits().hashes {
            return completed(outcome(attempt.await));
        }
        if let Ok(ended) = timeout(self.options.patience, &mut attempt).await {
            return completed(outcome(ended));
        }
        let size = tokio::select! {
            biased;
            ended = &mut attempt => return completed(outcome(ended)),
            Ok(size) = size.wait_for(Option::is_some) => *size,
        };
        let Some(size) = size else {
            return completed(outcome(attempt.await));
        };
        let promise = Promise {
            upload_id: completion.upload_id,
            owner: completion.owner,
            digest: completion.digest,
            size,
            parts: completion.parts,
            vouched: completion.vouched,
            promised_at: self.clock.now(),
        };
        if !self.sessions.promise(&promise, LIMITS).await? {
            // The attempt ended meanwhile, or too many promises are open.
            return completed(outcome(attempt.await));
        }
        if let Some(kept) = Kept::claim(&self, &promise.upload_id) {
            metrics::counter!(PROMISES, "outcome" => "made").increment(1);
            tracing::info!(
                did = %promise.owner, digest = %promise.digest, size_bytes = size,
                "a blob is promised; its upload is still being completed"
            );
            let shared = self.clone();
            let digest = promise.digest.clone();
            self.options.tasks.spawn(async move {
                KEEPER
                    .catch(digest, shared.keep(kept, promise, Some(attempt)))
                    .await;
            });
        }
        Ok(Completed {
            size,
            is_promised: true,
        })
    }

    /// Works on `promise` until it is kept or broken, or the process stops.
    async fn keep(self: Arc<Self>, kept: Kept, promise: Promise, mut begun: Option<Attempt>) {
        let stop = &self.options.stop;
        let mut pause = self.options.retry_pause;
        loop {
            let ended = match begun.take() {
                Some(attempt) => self.unless_stopped(attempt).await,
                None => {
                    let Ok(_turn) = self.keeping.resumed.acquire().await else {
                        return;
                    };
                    let (measured, _) = watch::channel(Some(promise.size));
                    self.unless_stopped(self.attempt(Completion::of(&promise), measured))
                        .await
                }
            };
            let ended = match ended {
                None => return,
                // Services differ in what they say of an upload that they published before a crash.
                Some(Err(error)) => match self.finish_published(&promise).await {
                    Ok(Some(size)) => Ok(size),
                    Ok(None) => Err(error),
                    Err(newer) => Err(newer),
                },
                Some(Ok(size)) => Ok(size),
            };
            match ended {
                Ok(size) => {
                    metrics::counter!(PROMISES, "outcome" => "kept").increment(1);
                    metrics::counter!(STORED).increment(1);
                    metrics::counter!(BYTES_STORED).increment(size);
                    tracing::info!(did = %promise.owner, digest = %promise.digest, "a promised blob is stored");
                    break;
                }
                Err(error) if is_final(&error) || self.is_overdue(&promise) => {
                    if self.break_off(&promise, &error).await {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        digest = %promise.digest, pause_s = pause.as_secs(),
                        "a promised blob is not stored yet; its upload is completed again after a pause"
                    );
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        drop(kept);
        self.keeping.closed.send_modify(|closed| *closed += 1);
    }

    /// Notes that the promise is kept, if the blob is there and the upload is still known: an earlier attempt, or another upload of
    /// the same bytes, published it. Its length in bytes.
    async fn finish_published(&self, promise: &Promise) -> Result<Option<u64>, BlobError> {
        let _ending = self.endings.lock(promise.upload_id.as_str()).await;
        if self.sessions.get(&promise.upload_id).await?.is_none() {
            return Ok(None);
        }
        let Some((_, object)) = self.find(&promise.digest, Purpose::Kept).await? else {
            return Ok(None);
        };
        let finished = FinishedUpload {
            digest: promise.digest.clone(),
            size: object.size,
        };
        // What the upload left in the store, the sweep finds.
        self.sessions
            .finish(&promise.upload_id, &finished, self.clock.now())
            .await?;
        Ok(Some(object.size))
    }

    /// The outcome of `attempt`; `None` if the process stops first, after which a restart begins again.
    async fn unless_stopped(&self, mut attempt: Attempt) -> Option<Result<u64, BlobError>> {
        tokio::select! {
            biased;
            ended = &mut attempt => Some(outcome(ended)),
            () = self.options.stop.cancelled() => {
                attempt.abort();
                None
            }
        }
    }

    fn is_overdue(&self, promise: &Promise) -> bool {
        self.clock.now() - promise.promised_at > self.options.idle_limit
    }

    /// Gives `promise` up with what was uploaded; false if that has to be tried again.
    async fn break_off(&self, promise: &Promise, error: &BlobError) -> bool {
        let forgotten = match self.sessions.get(&promise.upload_id).await {
            Ok(Some(session)) => self.forget(&session).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(failed) = forgotten {
            tracing::warn!(
                error = &failed as &dyn std::error::Error,
                digest = %promise.digest,
                "the upload of a broken promise cannot be removed yet"
            );
            return false;
        }
        metrics::counter!(PROMISES, "outcome" => "broken").increment(1);
        tracing::error!(
            did = %promise.owner, digest = %promise.digest, size_bytes = promise.size,
            reason = error as &dyn std::error::Error,
            "a promised blob is not stored, and its uploader was told that it exists; it has to be pushed again"
        );
        true
    }

    /// The blob, if it is promised to `owner`.
    pub(super) async fn promised(
        &self,
        owner: Option<&Did>,
        digest: &Digest,
    ) -> Result<Option<PromisedBlob>, BlobError> {
        match owner {
            Some(owner) if !self.store.traits().hashes => Ok(self.sessions.promised(owner, digest).await?),
            _ => Ok(None),
        }
    }

    /// Announces each promise that is closed from now on.
    pub(super) fn closings(&self) -> watch::Receiver<u64> {
        self.keeping.closed.subscribe()
    }
}

impl BlobService {
    /// Works on every open promise that is not worked on yet: those of an earlier process.
    ///
    /// # Errors
    /// `Sessions`: the promises could not be listed, or one of them not read; the others are worked on.
    pub async fn resume_promises(&self) -> Result<(), BlobError> {
        let mut failed = None;
        for upload_id in self.shared.sessions.promised_uploads().await? {
            let Some(kept) = Kept::claim(&self.shared, &upload_id) else {
                continue;
            };
            let promise = match self.shared.sessions.promise_of(&upload_id).await {
                Ok(Some(promise)) => promise,
                Ok(None) => continue,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            tracing::info!(did = %promise.owner, digest = %promise.digest, "a promised blob's upload is resumed");
            let shared = self.shared.clone();
            let digest = promise.digest.clone();
            self.shared.options.tasks.spawn(async move {
                KEEPER.catch(digest, shared.keep(kept, promise, None)).await;
            });
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Announces each promise that is closed from now on, by a count.
    #[must_use]
    pub fn promises_closed(&self) -> watch::Receiver<u64> {
        self.shared.closings()
    }

    /// Whether the blob `digest` is promised to any account.
    ///
    /// # Errors
    /// `Sessions`: try again.
    pub async fn is_promised(&self, digest: &Digest) -> Result<bool, BlobError> {
        Ok(!self.store_traits().hashes && self.shared.sessions.is_promised(digest).await?)
    }

    /// The digests of all blobs that are promised to `owner`.
    ///
    /// # Errors
    /// `Sessions`: try again.
    pub async fn promised_to(&self, owner: &Did) -> Result<Vec<Digest>, BlobError> {
        if self.store_traits().hashes {
            return Ok(Vec::new());
        }
        Ok(self.shared.sessions.promised_digests(owner).await?)
    }
}

fn answer_again(promise: &Promise, digest: &Digest) -> Result<Completed, BlobError> {
    if promise.digest == *digest {
        Ok(Completed {
            size: promise.size,
            is_promised: true,
        })
    } else {
        Err(BlobError::InvalidUploadId)
    }
}

fn outcome(ended: Result<Result<u64, BlobError>, impl fmt::Debug>) -> Result<u64, BlobError> {
    ended.unwrap_or(Err(BlobError::Interrupted))
}

fn completed(size: Result<u64, BlobError>) -> Result<Completed, BlobError> {
    size.map(|size| Completed {
        size,
        is_promised: false,
    })
}

/// Whether trying again cannot help.
fn is_final(error: &BlobError) -> bool {
    matches!(
        error,
        BlobError::DigestMismatch { .. } | BlobError::InvalidUploadId | BlobError::MissingParts { .. }
    )
}
