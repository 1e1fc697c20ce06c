//! The published blobs: what is there, and how one of them goes.

use std::fs::{self, DirEntry};
use std::io;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use atcr_oci::{Algorithm, Digest};

use super::{FilesystemStore, Shared, durable, is_absent};
use crate::blobs::{BlobInventory, BlobPage, ObjectKey, StoreError, StoredBlob};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];
type Layout = (&'static str, fn(&Digest) -> ObjectKey);

/// The folders of the two layouts, with the key of a blob in each.
const LAYOUTS: [Layout; 2] = [
    ("docker/registry/v2/blobs", ObjectKey::blob),
    ("blobs", ObjectKey::legacy_blob),
];
/// Blobs of one page, and up to one folder more.
const PAGE: usize = 1000;
/// Folders of each algorithm: the first two digits of the hash.
const FOLDERS: usize = 256;

#[async_trait]
impl BlobInventory for FilesystemStore {
    async fn list_blobs(&self, after: Option<&str>) -> Result<BlobPage, StoreError> {
        let place = match after {
            None => 0,
            Some(text) => text
                .parse()
                .map_err(|error| StoreError::unavailable("list blobs", Box::new(error)))?,
        };
        self.blocking("list blobs", move |shared| shared.list_from(place))
            .await
    }

    async fn remove_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let digest = digest.clone();
        self.blocking("remove a blob", move |shared| {
            LAYOUTS
                .iter()
                .try_for_each(|(_, key)| shared.remove(&key(&digest)))
        })
        .await
    }

    /// A file is gone or not when the answer comes.
    fn late_removal(&self) -> Duration {
        Duration::ZERO
    }
}

impl Shared {
    /// A page of whole folders.
    fn list_from(&self, place: usize) -> io::Result<BlobPage> {
        let mut page = BlobPage {
            blobs: Vec::new(),
            next: Some(place.to_string()),
        };
        let mut place = Some(place);
        while let Some(folder) = place
            && page.blobs.len() < PAGE
        {
            place = self.list_folder(folder, &mut page.blobs)?;
            page.next = place.map(|place| place.to_string());
        }
        Ok(page)
    }

    /// The folders `<layout>/<algorithm>/<ab>` are counted through; returns the number of the next one.
    fn list_folder(&self, place: usize, blobs: &mut Vec<StoredBlob>) -> io::Result<Option<usize>> {
        let (folder, rest) = (place % FOLDERS, place / FOLDERS);
        let (algorithm, layout) = (rest % ALGORITHMS.len(), rest / ALGORITHMS.len());
        let (Some(algorithm), Some((layout, key))) = (ALGORITHMS.get(algorithm), LAYOUTS.get(layout)) else {
            return Ok(None);
        };
        let parent = self.root.join(layout).join(algorithm.to_string());
        if place.is_multiple_of(FOLDERS) && !parent.try_exists()? {
            return Ok(Some(place + FOLDERS));
        }
        match fs::read_dir(parent.join(format!("{folder:02x}"))) {
            Ok(entries) => {
                for entry in entries {
                    if let Some(digest) = digest_of(*algorithm, &entry?)
                        && let Some(size) = self.size_of(&key(&digest))?
                    {
                        blobs.push(StoredBlob { digest, size });
                    }
                }
            }
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Some(place + 1))
    }

    fn size_of(&self, key: &ObjectKey) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(key)) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a published object and its folder, durably.
    fn remove(&self, key: &ObjectKey) -> io::Result<()> {
        let target = self.path(key);
        let folder = target.parent().unwrap_or(&self.root);
        let removed = {
            let _publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
            match fs::remove_file(&target) {
                Ok(()) => {
                    // Something else may be in it, which is not ours.
                    let _ = fs::remove_dir(folder);
                    true
                }
                Err(error) if is_absent(&error) => false,
                Err(error) => return Err(error),
            }
        };
        match folder.parent() {
            Some(parent) if removed => durable::sync_dirs(parent, parent),
            _ => Ok(()),
        }
    }
}

fn digest_of(algorithm: Algorithm, entry: &DirEntry) -> Option<Digest> {
    let name = entry.file_name();
    format!("{algorithm}:{}", name.to_str()?).parse().ok()
}
