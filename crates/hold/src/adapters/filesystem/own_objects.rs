//! Objects that the hold itself writes.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{FilesystemStore, durable, failed, is_absent, read};
use crate::blobs::{ObjectBytes, ObjectKey, StoreError};
use crate::repo_blobs::OwnObjects;

#[async_trait]
impl OwnObjects for FilesystemStore {
    async fn put_file(&self, key: &ObjectKey, file: &Path, _size: u64) -> Result<(), StoreError> {
        let (key, file) = (key.clone(), file.to_owned());
        self.blocking("store an object", move |shared| {
            let target = shared.path(&key);
            let parent = target.parent().unwrap_or(&shared.root);
            if target.try_exists()? {
                return Ok(());
            }
            durable::create_dirs(parent)?;
            // Beside its place, since the file may be on another disk.
            let copy = parent.join(format!("new-{}", Uuid::new_v4()));
            let copied = fs::copy(&file, &copy)
                .and_then(|_| File::open(&copy)?.sync_all())
                .and_then(|()| fs::rename(&copy, &target));
            if copied.is_err() {
                let _ = fs::remove_file(&copy);
            }
            copied?;
            durable::sync_dirs(parent, &shared.root)
        })
        .await
    }

    async fn read(&self, key: &ObjectKey) -> Result<Option<(u64, ObjectBytes)>, StoreError> {
        let action = "read an object";
        let key = key.clone();
        let opened = self
            .blocking(action, move |shared| match File::open(shared.path(&key)) {
                Ok(file) => {
                    let size = file.metadata()?.len();
                    Ok(Some((file, size)))
                }
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(error),
            })
            .await?;
        Ok(opened.map(|(file, size)| {
            let bytes = read::stream(Arc::new(file), 0..size);
            let bytes: ObjectBytes = Box::pin(bytes.map_err(move |error| failed(action, error)));
            (size, bytes)
        }))
    }

    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.blocking("remove an object", move |shared| {
            let path = shared.path(&key);
            match fs::remove_file(&path) {
                Err(error) if !is_absent(&error) => return Err(error),
                _ => {}
            }
            // The folder of one object; another may be on its way into it.
            match path.parent().map(fs::remove_dir) {
                Some(Err(error))
                    if !is_absent(&error) && error.kind() != io::ErrorKind::DirectoryNotEmpty =>
                {
                    Err(error)
                }
                _ => Ok(()),
            }
        })
        .await
    }
}
