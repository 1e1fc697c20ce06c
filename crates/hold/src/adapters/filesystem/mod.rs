//! The embedded object store: a folder, with the same layout as a bucket, whose URLs the hold itself serves.
//!
//! ```text
//! <root>/docker/registry/v2/blobs/…/data                 published objects, named by their key
//! <root>/docker/registry/v2/uploads/temp-<uuid>/data     one file per upload; parts are written where they belong
//! <root>/docker/registry/v2/uploads/temp-<uuid>/parts    one line per finished part, with the hash state at its end
//! <root>/url-signing.key                                 signs part and download URLs
//! ```
//! An upload's bytes are hashed as they arrive, made durable at `assemble`, and renamed into place at `publish`: no byte is
//! written twice. An upload's file need not be durable before `assemble`, so a power failure may damage a running upload; the
//! hash states of an earlier boot are therefore not trusted, and the file is read back instead.
//!
//! - `own_objects`: what the hold itself stores
//! - `served`: what the URLs give · `signed_url`: their signatures · `read`: file → stream
//! - `inventory`: what is there, and how it goes
//! - `backup`: names below a folder, for the repository's backup
//! - `upload`: one upload's state · `parts_log`: its file of parts · `ingest`: body → file · `durable`: fsync

mod backup;
mod durable;
mod ingest;
mod inventory;
mod own_objects;
mod parts_log;
mod read;
mod served;
mod signed_url;
mod upload;

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_oci::Algorithm;
use chrono::{DateTime, Utc};
use url::Url;
use uuid::Uuid;

pub use self::backup::FolderBackup;
pub use self::ingest::PartError;
pub use self::served::{OpenObject, SignedUrlError};
pub use self::signed_url::UrlSignature;
use self::signed_url::UrlSigner;
pub(crate) use self::signed_url::{BLOBS, PARTS};
use self::upload::{Ending, Uploads};
use crate::blobs::{
    Assembled, DownloadMethod, ObjectBytes, ObjectKey, ObjectStat, ObjectStore, PartTag, PartUrl,
    PresignedUrl, StoreError, StoreTraits, StoreUpload, Unfinished,
};

const UPLOADS_DIR: &str = "docker/registry/v2/uploads";
const KEY_FILE: &str = "url-signing.key";
const LOCK_FILE: &str = "lock";

/// A store in a folder, of which it must be the only user. Clones share everything.
#[derive(Clone, Debug)]
pub struct FilesystemStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    signer: UrlSigner,
    clock: Arc<dyn Clock>,
    uploads: Uploads,
    /// Between the look for an existing object and the rename nothing else is published or removed.
    publishing: Mutex<()>,
    /// Locked for as long as the store is open.
    _lock: File,
}

impl FilesystemStore {
    /// Opens the store in the folder `root`, made when missing. Its URLs begin with `public_url`, where the hold's
    /// routes must be reachable.
    ///
    /// # Errors
    /// `root` cannot be written, another process has it open, or its key file is damaged or readable by others.
    pub fn open(root: &Path, public_url: Url, clock: Arc<dyn Clock>) -> io::Result<Self> {
        durable::create_dirs(root)?;
        let lock = File::create(root.join(LOCK_FILE))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                ErrorKind::ResourceBusy,
                format!("another process stores its objects in {}", root.display()),
            ),
            TryLockError::Error(error) => error,
        })?;
        let uploads_dir = root.join(UPLOADS_DIR);
        durable::create_dirs(&uploads_dir)?;
        let signer = UrlSigner::load_or_create(&root.join(KEY_FILE), public_url)?;
        Ok(Self {
            shared: Arc::new(Shared {
                root: root.to_owned(),
                signer,
                clock,
                uploads: Uploads::new(uploads_dir),
                publishing: Mutex::new(()),
                _lock: lock,
            }),
        })
    }

    /// Runs `work`, which blocks, where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(outcome) => outcome.map_err(|error| failed(action, error)),
            Err(panicked) => Err(StoreError::unavailable(action, panicked)),
        }
    }
}

impl Shared {
    fn path(&self, key: &ObjectKey) -> PathBuf {
        // A key has no `.` or `..` and no leading slash.
        self.root.join(key.as_str())
    }

    /// Renames `from` to the place of `key`, unless an object is there, and makes the name durable.
    fn publish(&self, from: &Path, key: &ObjectKey) -> io::Result<()> {
        let target = self.path(key);
        let parent = target.parent().unwrap_or(&self.root);
        {
            let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
            // Within, since a removal takes the folder away.
            std::fs::create_dir_all(parent)?;
            if !target.try_exists()? {
                std::fs::rename(from, &target)?;
            }
        }
        // Also when it was there: the request that put it there may not have come this far yet.
        durable::sync_dirs(parent, &self.root)
    }
}

#[async_trait]
impl ObjectStore for FilesystemStore {
    fn traits(&self) -> StoreTraits {
        StoreTraits {
            min_part_size: 0,
            max_part_size: None,
            hashes: true,
            streaming: true,
        }
    }

    async fn begin(&self, key: &ObjectKey, algorithm: Algorithm) -> Result<StoreUpload, StoreError> {
        let uuid = upload_uuid(key)?;
        self.blocking("begin an upload", move |shared| {
            shared.uploads.create(uuid, algorithm)
        })
        .await?;
        Ok(StoreUpload {
            key: key.clone(),
            id: uuid.to_string(),
        })
    }

    async fn part_url(
        &self,
        upload: &StoreUpload,
        part_number: u32,
        expires_at: DateTime<Utc>,
    ) -> Result<PartUrl, StoreError> {
        let uuid = upload_uuid(&upload.key)?;
        Ok(PartUrl {
            url: self.shared.signer.part_url(uuid, part_number, expires_at),
            method: "PUT",
            headers: std::collections::BTreeMap::new(),
        })
    }

    async fn measure(&self, _upload: &StoreUpload, _parts: &[PartTag]) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[PartTag]) -> Result<Assembled, StoreError> {
        let uuid = upload_uuid(&upload.key)?;
        self.shared.uploads.assemble(uuid, parts).await
    }

    async fn read_assembled(
        &self,
        upload: &StoreUpload,
        _assembled: &Assembled,
        range: Range<u64>,
    ) -> Result<ObjectBytes, StoreError> {
        let action = "read an upload back";
        let uuid = upload_uuid(&upload.key)?;
        let file = self
            .blocking(action, move |shared| File::open(shared.uploads.data_path(uuid)))
            .await?;
        Ok(Box::pin(futures_util::TryStreamExt::map_err(
            read::stream(Arc::new(file), range),
            move |error| failed(action, error),
        )))
    }

    async fn publish(
        &self,
        upload: &StoreUpload,
        assembled: &Assembled,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        let uuid = upload_uuid(&upload.key)?;
        let (shared, key) = (self.shared.clone(), key.clone());
        let ending = Ending::Publish {
            seal: assembled.version.as_deref(),
        };
        self.shared
            .uploads
            .end(uuid, ending, move |data| shared.publish(data, &key))
            .await
    }

    async fn discard(&self, upload: &StoreUpload) -> Result<(), StoreError> {
        let uuid = upload_uuid(&upload.key)?;
        match self.shared.uploads.end(uuid, Ending::Discard, |_| Ok(())).await {
            Err(StoreError::UnknownUpload) => Ok(()),
            outcome => outcome,
        }
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        let key = key.clone();
        self.blocking("look for an object", move |shared| {
            match std::fs::metadata(shared.path(&key)) {
                Ok(metadata) => Ok(metadata.is_file().then_some(ObjectStat { size: metadata.len() })),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn download_url(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<PresignedUrl, StoreError> {
        Ok(PresignedUrl {
            url: self.shared.signer.download_url(key, method, expires_at),
            expires_at,
        })
    }

    async fn list_unfinished(&self, limit: usize) -> Result<Vec<Unfinished>, StoreError> {
        self.blocking("list uploads", move |shared| shared.uploads.list(limit))
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.blocking("answer", |shared| std::fs::metadata(&shared.root).map(|_| ()))
            .await
    }
}

fn upload_uuid(key: &ObjectKey) -> Result<Uuid, StoreError> {
    key.upload_uuid().ok_or(StoreError::UnknownUpload)
}

/// A file in place of a folder on the way means the same as no file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn failed(action: &'static str, error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound => StoreError::UnknownUpload,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full(error.into()),
        _ => StoreError::unavailable(action, error),
    }
}
