//! Blobs that records of the hold's own repository refer to: avatars, bills of materials, reports.
//!
//! A blob is uploaded first and referred to later. One that no record refers to is removed after a while, and is served to
//! no one.
//!
//! - [`RepoBlobs`]: uploading, reading, sweeping
//! - [`OwnObjects`], [`UploadedBlobs`]: the ports · `spool`: an upload on its way

mod ports;
mod spool;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::lexicon::BlobRef;
use atcr_atproto::syntax::{Cid, Did};
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_server::KeyedLocks;
use atcr_server::address_gate::Exempt;
use atcr_server::client_address::ClientAddress;
use atcr_server::client_places::ClientPlaces;
use atcr_server::stream_limits::{ClientStreams, StreamSlot};
use atcr_server::supervise::Task;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, stream};
use serde_json::Value;
use tokio::fs::File;
use tokio::sync::{OwnedMutexGuard, Semaphore};

pub use ports::{OwnObjects, UploadedBlobs};

use crate::blobs::{ObjectBytes, ObjectKey, SessionsError, Source, StoreError};
use spool::Spool;

/// The longest blob, in bytes.
pub const MAX_BYTES: u64 = 100 * 1024 * 1024;
/// Uploads at once: each takes up to [`MAX_BYTES`] of the data folder's disk.
const UPLOADS_AT_ONCE: usize = 4;
/// Those of the hold's scanners beside them, and how long one waits for its turn.
const OWN_UPLOADS_AT_ONCE: usize = 4;
const TURN_WITHIN: Duration = Duration::from_secs(20);
/// Those of bytes in memory.
const WHOLE_UPLOADS_AT_ONCE: usize = 2;
/// Blobs that are read at once, those of them that one client reads, and how long one may take.
const READS_AT_ONCE: usize = 64;
const READS_OF_CLIENT: usize = 8;
const READ_WITHIN: Duration = Duration::from_mins(10);
/// How long a blob stays that no record refers to.
const UNREFERENCED_FOR: TimeDelta = TimeDelta::hours(6);
/// Rows that a sweep reads at once.
const SWEEP_PAGE: u32 = 500;
/// Bytes of a media type.
const MAX_TYPE_LEN: usize = 128;
/// References of one record.
const MAX_REFERENCES: usize = 100;

pub(crate) const SWEEP: Task = Task::new("sweep_repo_blobs");

/// Why a blob was not stored or found.
#[derive(Debug, thiserror::Error)]
pub enum RepoBlobError {
    /// Longer than [`MAX_BYTES`].
    #[error("a blob has at most {MAX_BYTES} bytes")]
    TooLarge,
    /// Not `type/subtype`.
    #[error("the Content-Type is not a media type")]
    InvalidType,
    /// The sender broke off.
    #[error("the body could not be read")]
    Body(#[source] Source),
    /// As many uploads as the hold takes at once are under way.
    #[error("too many blobs are uploaded or read at once; try again in a minute")]
    Busy,
    /// A record refers to a blob that was not uploaded, or was uploaded as something else.
    #[error("no blob {0} was uploaded with this media type and length; upload it first")]
    NotUploaded(Cid),
    /// The caller's check has found that it is something else.
    #[error("the blob is not what it should be")]
    Refused,
    /// More than a record needs.
    #[error("a record refers to at most {MAX_REFERENCES} blobs")]
    TooManyReferences,
    /// The disk of the data folder failed.
    #[error("an upload could not be written")]
    Spool(#[source] std::io::Error),
    /// The object store failed.
    #[error("the object store failed")]
    Store(#[from] StoreError),
    /// The table of blobs failed.
    #[error("the table of blobs failed")]
    Table(#[from] SessionsError),
    /// The repository failed.
    #[error("the repository failed")]
    Repo(#[from] RepoError),
}

/// Looks at an upload before it is stored, on a thread of its own; whether it is what it should be.
pub type Check = Box<dyn FnOnce(std::fs::File) -> bool + Send>;

/// The blobs of the repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RepoBlobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Arc<dyn OwnObjects>,
    table: Arc<dyn UploadedBlobs>,
    repo: HoldRepo,
    did: Did,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    uploads: Semaphore,
    own_uploads: Semaphore,
    whole_uploads: Semaphore,
    reads: ClientStreams,
    /// Of one blob: it is not removed while it is stored anew or a record begins to refer to it.
    locks: KeyedLocks<String>,
}

/// A blob that records refer to, open.
pub struct OpenBlob {
    /// Media type and length.
    pub reference: BlobRef,
    /// Its bytes, in an unread stream.
    pub bytes: ObjectBytes,
    /// Bounds the stream.
    pub slot: StreamSlot,
}

/// Keeps the blobs that a record is about to refer to.
#[derive(Debug, Default)]
pub struct Kept(#[expect(dead_code, reason = "released when dropped")] Vec<OwnedMutexGuard<()>>);

impl RepoBlobs {
    /// Blobs in `objects`, listed in `table`, of the records in `repo`. `folder` is for uploads on their way; what is in it is
    /// removed. Of the places for readers, clients that are `exempt` have their own.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(
        objects: Arc<dyn OwnObjects>,
        table: Arc<dyn UploadedBlobs>,
        repo: HoldRepo,
        folder: PathBuf,
        exempt: Exempt,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let places = ClientPlaces::new(READS_AT_ONCE, READS_OF_CLIENT, exempt);
        spool::clear(&folder)?;
        Ok(Self {
            shared: Arc::new(Shared {
                objects,
                table,
                did: repo.did().clone(),
                repo,
                folder,
                clock,
                uploads: Semaphore::new(UPLOADS_AT_ONCE),
                own_uploads: Semaphore::new(OWN_UPLOADS_AT_ONCE),
                whole_uploads: Semaphore::new(WHOLE_UPLOADS_AT_ONCE),
                reads: ClientStreams::new(places, READ_WITHIN),
                locks: KeyedLocks::default(),
            }),
        })
    }

    /// Stores a blob durably; the reference for a record. Memory does not depend on its length.
    ///
    /// # Errors
    /// `TooLarge`, `InvalidType`, `Body`: the caller's · `Busy`, `Spool`, `Store`, `Table`: try again
    pub async fn upload<E: Into<Source>>(
        &self,
        media_type: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<BlobRef, RepoBlobError> {
        let mime_type = media_type_of(media_type).ok_or(RepoBlobError::InvalidType)?;
        let _upload = self
            .shared
            .uploads
            .try_acquire()
            .map_err(|_| RepoBlobError::Busy)?;
        self.store(mime_type, body, None).await
    }

    /// As [`upload`](Self::upload), of a sender that the caller holds to a pace: it waits a while for its turn. What does not pass `check`
    /// is not stored.
    ///
    /// # Errors
    /// As there, and `Refused`.
    pub async fn upload_in_turn<E: Into<Source>>(
        &self,
        media_type: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
        check: Check,
    ) -> Result<BlobRef, RepoBlobError> {
        let mime_type = media_type_of(media_type).ok_or(RepoBlobError::InvalidType)?;
        let turn = tokio::time::timeout(TURN_WITHIN, self.shared.own_uploads.acquire()).await;
        let Ok(Ok(_upload)) = turn else {
            return Err(RepoBlobError::Busy);
        };
        self.store(mime_type, body, Some(check)).await
    }

    /// As [`upload`](Self::upload), of bytes in memory, which wait for a turn of their own.
    ///
    /// # Errors
    /// As there, but for `Busy`.
    pub async fn upload_whole(&self, media_type: &str, bytes: Bytes) -> Result<BlobRef, RepoBlobError> {
        let mime_type = media_type_of(media_type).ok_or(RepoBlobError::InvalidType)?;
        let turn = self.shared.whole_uploads.acquire().await;
        let _upload = turn.map_err(|_| RepoBlobError::Busy)?;
        let body = stream::iter([Ok::<_, std::io::Error>(bytes)]);
        self.store(mime_type, body, None).await
    }

    async fn store<E: Into<Source>>(
        &self,
        mime_type: String,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
        check: Option<Check>,
    ) -> Result<BlobRef, RepoBlobError> {
        let shared = &*self.shared;
        let spooled = Spool::receive(&shared.folder, body).await?;
        if let Some(check) = check {
            let file = File::open(spooled.path()).await.map_err(RepoBlobError::Spool)?;
            let file = file.into_std().await;
            let checked = tokio::task::spawn_blocking(move || check(file)).await;
            if !checked.unwrap_or(false) {
                return Err(RepoBlobError::Refused);
            }
        }
        let blob = BlobRef {
            cid: spooled.cid,
            mime_type,
            size: spooled.size,
        };
        let _lock = shared.locks.lock(&blob.cid.to_string()).await;
        let key = shared.key(&blob.cid);
        shared.objects.put_file(&key, spooled.path(), blob.size).await?;
        shared.table.note(&blob, shared.clock.now()).await?;
        Ok(blob)
    }

    /// Opens a blob that a record refers to, for `client` if it came over the network; `None` if none does.
    ///
    /// # Errors
    /// `Busy`, `Store`, `Repo`.
    pub async fn read(
        &self,
        cid: &Cid,
        client: Option<&ClientAddress>,
    ) -> Result<Option<OpenBlob>, RepoBlobError> {
        let shared = &*self.shared;
        let Some(reference) = shared.repo.blob_reference(cid).await? else {
            return Ok(None);
        };
        let slot = shared.reads.admit(client).map_err(|_| RepoBlobError::Busy)?;
        let Some((size, bytes)) = shared.objects.read(&shared.key(cid)).await? else {
            return Ok(None);
        };
        Ok(Some(OpenBlob {
            reference: BlobRef { size, ..reference },
            bytes,
            slot,
        }))
    }

    /// Opens a blob that the hold itself has noted, whether or not a record refers to it; `None` if it is not there.
    ///
    /// # Errors
    /// `Busy`, `Store`.
    pub async fn read_own(
        &self,
        reference: &BlobRef,
        client: Option<&ClientAddress>,
    ) -> Result<Option<OpenBlob>, RepoBlobError> {
        let shared = &*self.shared;
        let slot = shared.reads.admit(client).map_err(|_| RepoBlobError::Busy)?;
        let found = shared.objects.read(&shared.key(&reference.cid)).await?;
        Ok(found.map(|(size, bytes)| OpenBlob {
            reference: BlobRef {
                size,
                ..reference.clone()
            },
            bytes,
            slot,
        }))
    }

    /// Media type and length of a blob that a record refers to; `None` if none does.
    ///
    /// # Errors
    /// `Repo`.
    pub async fn stat(&self, cid: &Cid) -> Result<Option<BlobRef>, RepoBlobError> {
        Ok(self.shared.repo.blob_reference(cid).await?)
    }

    /// Makes sure that every blob that `records` refer to is there, and stays until the answer is dropped.
    ///
    /// # Errors
    /// `NotUploaded`, `TooManyReferences`: the caller's · `Table`.
    pub async fn keep<'a>(&self, records: impl Iterator<Item = &'a Value>) -> Result<Kept, RepoBlobError> {
        self.keep_if(records, |there, wanted| there == wanted).await
    }

    /// As [`keep`](Self::keep), of the hold's own uploads: the same bytes may have been uploaded as something else too.
    ///
    /// # Errors
    /// As there.
    pub async fn keep_own<'a>(
        &self,
        records: impl Iterator<Item = &'a Value>,
    ) -> Result<Kept, RepoBlobError> {
        let is_same = |there: &BlobRef, wanted: &BlobRef| there.size == wanted.size;
        self.keep_if(records, is_same).await
    }

    async fn keep_if<'a>(
        &self,
        records: impl Iterator<Item = &'a Value>,
        is_same: impl Fn(&BlobRef, &BlobRef) -> bool,
    ) -> Result<Kept, RepoBlobError> {
        let shared = &*self.shared;
        let mut wanted = Vec::new();
        for record in records {
            references(record, &mut wanted);
        }
        if wanted.len() > MAX_REFERENCES {
            return Err(RepoBlobError::TooManyReferences);
        }
        // In order, so that two calls do not wait for each other.
        let names: BTreeSet<String> = wanted.iter().map(|blob| blob.cid.to_string()).collect();
        let mut locks = Vec::with_capacity(names.len());
        for name in &names {
            locks.push(shared.locks.lock(name).await);
        }
        for blob in wanted {
            let there = shared.table.get(&blob.cid).await?;
            if !there.is_some_and(|there| is_same(&there, &blob)) {
                return Err(RepoBlobError::NotUploaded(blob.cid));
            }
        }
        Ok(Kept(locks))
    }

    /// Removes blobs that no record has referred to for [`UNREFERENCED_FOR`] since they were uploaded. Returns how many.
    ///
    /// # Errors
    /// `Store`, `Table`, `Repo`; what was removed until then is gone.
    pub async fn sweep(&self) -> Result<u64, RepoBlobError> {
        self.sweep_as_of(self.shared.clock.now()).await
    }

    /// As [`sweep`](Self::sweep) at the time `now`.
    ///
    /// # Errors
    /// As there.
    pub async fn sweep_as_of(&self, now: DateTime<Utc>) -> Result<u64, RepoBlobError> {
        let shared = &*self.shared;
        let before = now - UNREFERENCED_FOR;
        let (mut after, mut removed) = (String::new(), 0);
        loop {
            let page = shared.table.uploaded_before(before, &after, SWEEP_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(removed);
            };
            after = last.to_string();
            for cid in &page {
                let _lock = shared.locks.lock(&cid.to_string()).await;
                // Which record refers to what is known by the index alone.
                if !shared.repo.is_index_whole().await {
                    tracing::warn!("blobs are not swept while the index of records is behind");
                    return Ok(removed);
                }
                if shared.repo.blob_reference(cid).await?.is_none() {
                    shared.remove(cid, before).await?;
                    removed += 1;
                }
            }
        }
    }
}

impl Shared {
    /// Forgotten first: a record may refer to whatever is in the table.
    async fn remove(&self, cid: &Cid, before: DateTime<Utc>) -> Result<(), RepoBlobError> {
        let Some(blob) = self.table.get(cid).await? else {
            return Ok(());
        };
        self.table.forget(cid, before).await?;
        if let Err(error) = self.objects.remove(&self.key(cid)).await {
            // For the next sweep.
            self.table.note(&blob, before - TimeDelta::seconds(1)).await?;
            return Err(error.into());
        }
        Ok(())
    }

    fn key(&self, cid: &Cid) -> ObjectKey {
        ObjectKey::atproto_blob(&self.did, cid)
    }
}

/// `type/subtype` of a Content-Type, in lower case; of none, that of unknown bytes.
fn media_type_of(text: &str) -> Option<String> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() {
        return Some("application/octet-stream".to_owned());
    }
    let is_token = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !text.is_empty() && text.bytes().all(allowed)
    };
    let (kind, subtype) = essence.split_once('/')?;
    (essence.len() <= MAX_TYPE_LEN && is_token(kind) && is_token(subtype))
        .then(|| essence.to_ascii_lowercase())
}

/// The blobs that a record refers to. What is no reference is refused when the record is encoded.
fn references(value: &Value, found: &mut Vec<BlobRef>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(fields) => {
            let is_blob = fields.get("$type").is_some_and(|kind| kind == "blob");
            match serde_json::from_value(value.clone()) {
                Ok(blob) if is_blob => found.push(blob),
                _ => fields.values().for_each(|field| references(field, found)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_two_parts_and_no_parameters() {
        assert_eq!(media_type_of("Image/PNG").as_deref(), Some("image/png"));
        assert_eq!(
            media_type_of("application/spdx+json; charset=utf-8").as_deref(),
            Some("application/spdx+json")
        );
        assert_eq!(media_type_of("").as_deref(), Some("application/octet-stream"));
        for wrong in [
            "png",
            "image/",
            "/png",
            "image/png\"",
            "a/b/c",
            &format!("a/{}", "b".repeat(200)),
        ] {
            assert_eq!(media_type_of(wrong), None, "{wrong}");
        }
    }
}
