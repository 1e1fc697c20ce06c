//! A backup in a folder, which should be on another disk.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::durable::{create_dirs, sync_dirs};
use crate::backup::{BackupStore, Listed};
use crate::blobs::{ObjectBytes, StoreError};

/// Bytes read at once.
const PIECE: usize = 1024 * 1024;

/// Names below a folder.
#[derive(Clone, Debug)]
pub struct FolderBackup {
    root: PathBuf,
}

impl FolderBackup {
    /// The folder `root`, which is made with the first object.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A file of its own beside the one that is to be written.
    fn temporary(&self, name: &str) -> io::Result<(PathBuf, PathBuf, File)> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        create_dirs(&folder)?;
        let temporary = folder.join(format!(".{}.tmp", Uuid::new_v4().simple()));
        let file = File::create_new(&temporary)?;
        Ok((path, temporary, file))
    }
}

fn failed(action: &'static str, error: io::Error) -> StoreError {
    if error.kind() == ErrorKind::StorageFull {
        return StoreError::Full(error.into());
    }
    StoreError::unavailable(action, error)
}

async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| failed(action, error)),
        Err(error) => Err(StoreError::unavailable(action, error)),
    }
}

#[async_trait]
impl BackupStore for FolderBackup {
    fn place(&self) -> String {
        format!("folder {}", self.root.display())
    }

    async fn put(&self, name: &str, mut content: ObjectBytes, _size: u64) -> Result<(), StoreError> {
        let action = "write the backup";
        let (store, name) = (self.clone(), name.to_owned());
        let (path, temporary, mut file) = blocking(action, move || store.temporary(&name)).await?;
        let written = async {
            while let Some(piece) = content.try_next().await? {
                file = blocking(action, move || file.write_all(&piece).map(|()| file)).await?;
            }
            let from = temporary.clone();
            blocking(action, move || {
                file.sync_all()?;
                fs::rename(from, &path)?;
                sync_folder(&path)
            })
            .await
        };
        let written = written.await;
        if written.is_err() {
            // The failure that is reported is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    async fn create(&self, name: &str, content: Bytes) -> Result<bool, StoreError> {
        let (store, name) = (self.clone(), name.to_owned());
        blocking("write the backup", move || {
            let (path, temporary, mut file) = store.temporary(&name)?;
            let linked = file
                .write_all(&content)
                .and_then(|()| file.sync_all())
                .and_then(|()| match fs::hard_link(&temporary, &path) {
                    Ok(()) => sync_folder(&path).map(|()| true),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(error),
                });
            fs::remove_file(&temporary)?;
            linked
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Option<ObjectBytes>, StoreError> {
        let action = "read the backup";
        let path = self.root.join(name);
        let file = blocking(action, move || match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        let Some(file) = file.await? else {
            return Ok(None);
        };
        let pieces = stream::try_unfold(file, move |mut file| async move {
            blocking(action, move || {
                let mut piece = Vec::with_capacity(PIECE);
                let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
                Ok((read > 0).then(|| (Bytes::from(piece), file)))
            })
            .await
        });
        Ok(Some(pieces.boxed()))
    }

    async fn list(&self, folder: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let (root, folder) = (self.root.clone(), folder.to_owned());
        blocking("list the backup", move || {
            let mut found = Vec::new();
            let mut folders = vec![folder];
            while let Some(folder) = folders.pop() {
                let entries = match fs::read_dir(root.join(&folder)) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                for entry in entries {
                    let entry = entry?;
                    let Ok(last) = entry.file_name().into_string() else {
                        continue;
                    };
                    let name = format!("{folder}/{last}");
                    let kind = entry.file_type()?;
                    if kind.is_dir() {
                        folders.push(name);
                    } else if kind.is_file() && !last.starts_with('.') {
                        let bytes = match entry.metadata() {
                            Ok(metadata) => metadata.len(),
                            // Removed since.
                            Err(error) if error.kind() == ErrorKind::NotFound => continue,
                            Err(error) => return Err(error),
                        };
                        found.push(Listed { name, bytes });
                    }
                }
                if found.len() + folders.len() > limit {
                    return Err(io::Error::other("there are too many objects"));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.root.join(name);
        blocking("remove from the backup", move || match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    async fn remove_unfinished(&self, folder: &str, before: DateTime<Utc>) -> Result<usize, StoreError> {
        let folder = self.root.join(folder);
        blocking("remove unfinished files of the backup", move || {
            let mut removed = 0;
            let mut folders = vec![folder];
            while let Some(folder) = folders.pop() {
                let entries = match fs::read_dir(&folder) {
                    Ok(entries) => entries,
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                for entry in entries {
                    let entry = entry?;
                    if entry.file_type()?.is_dir() {
                        folders.push(entry.path());
                        continue;
                    }
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    let is_unfinished = name.starts_with('.') && name.ends_with(".tmp");
                    if is_unfinished && DateTime::<Utc>::from(entry.metadata()?.modified()?) < before {
                        fs::remove_file(entry.path())?;
                        removed += 1;
                    }
                }
            }
            Ok(removed)
        })
        .await
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => sync_dirs(folder, folder),
        None => Ok(()),
    }
}
