//! What readiness asks: the database, the repository, the store, the room on the disks. A backup that is behind is shown and no fault.

use async_trait::async_trait;
use atcr_hold_pds::HoldRepo;
use atcr_server::Shutdown;
use atcr_server::database::Database;
use atcr_server::disk_space::{DataFolder, DiskSpace};
use atcr_server::health::{self, Figures, Part, Readiness, Reason};

use crate::backup::Backup;
use crate::blobs::BlobService;
use crate::settings::{HoldSettings, StorageSettings};

/// The parts that have to work before the hold counts as ready.
pub(super) fn of(
    settings: &HoldSettings,
    database: &Database,
    repo: &HoldRepo,
    blobs: &BlobService,
    backup: Option<Backup>,
    shutdown: Shutdown,
) -> Readiness {
    let parts: Vec<Box<dyn Part>> = vec![
        Box::new(DatabasePart(database.clone())),
        Box::new(RepoPart(repo.clone())),
        Box::new(StorePart(blobs.clone())),
        Box::new(disk_space(settings)),
        Box::new(BackupPart(backup)),
    ];
    Readiness::new(parts, shutdown, health::FRESH_FOR)
}

/// Never fails: a hold whose backup is behind goes on, and says how far it is.
#[derive(Debug)]
struct BackupPart(Option<Backup>);

#[async_trait]
impl Part for BackupPart {
    fn name(&self) -> &'static str {
        "backup"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        let behind = self.0.as_ref().map(|backup| backup.behind().as_secs());
        Ok(Figures::from([
            ("is_configured", u64::from(behind.is_some())),
            ("behind_seconds", behind.unwrap_or(0)),
        ]))
    }
}

#[derive(Debug)]
struct DatabasePart(Database);

#[async_trait]
impl Part for DatabasePart {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        self.0.check().await?;
        Ok(Figures::new())
    }
}

#[derive(Debug)]
struct RepoPart(HoldRepo);

#[async_trait]
impl Part for RepoPart {
    fn name(&self) -> &'static str {
        "repository"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        if let Some(reason) = self.0.why_halted() {
            return Err(reason.into());
        }
        if !self.0.is_writable() {
            return Err("the last write to the disk failed".into());
        }
        // No writes, but through the writer: it may have ended.
        self.0.write(Vec::new()).await?;
        Ok(Figures::from([("index_lag_batches", self.0.index_lag_batches())]))
    }
}

#[derive(Debug)]
struct StorePart(BlobService);

#[async_trait]
impl Part for StorePart {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn check(&self) -> Result<Figures, Reason> {
        self.0.ping().await?;
        Ok(Figures::new())
    }
}

/// The data folder, and the folder of the objects if there is one.
fn disk_space(settings: &HoldSettings) -> DiskSpace {
    let mut folders = vec![DataFolder {
        name: "data",
        path: settings.data_dir.clone(),
    }];
    if let StorageSettings::Filesystem { path } = &settings.storage {
        folders.push(DataFolder {
            name: "objects",
            path: path.clone(),
        });
    }
    DiskSpace::new(folders, settings.free_disk_bytes)
}
