//! The stores that the settings name: of objects, and of the repository's backup.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use axum::Router;

use super::StartError;
use crate::adapters::filesystem::{FilesystemStore, FolderBackup};
use crate::adapters::s3::{S3Backup, S3Store};
use crate::backup::BackupStore;
use crate::blobs::{BlobInventory, ObjectStore};
use crate::edge::store as store_routes;
use crate::repo_blobs::OwnObjects;
use crate::settings::{BackupSettings, HoldSettings, StorageSettings};

/// One store, behind all of its ports.
pub(super) struct Store {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) inventory: Arc<dyn BlobInventory>,
    pub(super) own_objects: Arc<dyn OwnObjects>,
    /// Those of a store that serves its own URLs.
    pub(super) routes: Router,
}

/// Opens the store of objects.
///
/// # Errors
/// [`StartError::Store`] for a folder that cannot be used.
pub(super) fn open_store(settings: &HoldSettings, clock: &Arc<dyn Clock>) -> Result<Store, StartError> {
    match &settings.storage {
        StorageSettings::Filesystem { path } => {
            let store = FilesystemStore::open(path, settings.public_url.clone(), clock.clone()).map_err(
                |source| StartError::Store {
                    path: path.clone(),
                    source,
                },
            )?;
            Ok(Store {
                objects: Arc::new(store.clone()),
                inventory: Arc::new(store.clone()),
                own_objects: Arc::new(store.clone()),
                routes: store_routes::router(store),
            })
        }
        StorageSettings::S3(options) => {
            let store = S3Store::new(options, clock.clone());
            Ok(Store {
                objects: Arc::new(store.clone()),
                inventory: Arc::new(store.clone()),
                own_objects: Arc::new(store),
                routes: Router::new(),
            })
        }
    }
}

/// Where the repository is backed up, if it is.
pub(crate) fn backup_store(settings: &HoldSettings) -> Option<Arc<dyn BackupStore>> {
    match &settings.backup {
        BackupSettings::Off | BackupSettings::NoPlace => None,
        BackupSettings::Folder { path } => Some(Arc::new(FolderBackup::new(path))),
        BackupSettings::S3 { options, prefix } => Some(Arc::new(S3Backup::new(options, prefix))),
    }
}
