//! Backups: a look at the files that does not change, and the way back.
//!
//! What a backup has is as public as the repository: no key is in it.

use std::path::Path;
use std::sync::Arc;

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::Tid;
use bytes::Bytes;

use crate::blocks::View;
use crate::disk::{self, Disk, DiskFile, RealDisk};
use crate::engine::{EngineOptions, restore as restore_engine};
use crate::error::RepoError;
use crate::lock::Lock;
use crate::log::{Manifest, segment};
use crate::offload::blocking;
use crate::progress::Progress;
use crate::repo::{HoldRepo, RepoOptions};
use crate::snapshot::car_name;

/// The name of the file that says what the others are.
pub const MANIFEST: &str = crate::log::manifest::FILE;

/// The repository's files as of the newest acknowledged write. They stay readable as long as this lives.
#[derive(Clone, Debug)]
pub struct BackupView {
    did: String,
    view: Arc<View>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct BackupFile {
    /// Its name in the repository's folder.
    pub name: String,
    /// Its bytes that count. A longer file has zeros behind them.
    pub bytes: u64,
    /// Nothing is added to it any more.
    pub is_final: bool,
    file: Arc<dyn DiskFile>,
}

impl BackupFile {
    /// `length` bytes from `from` on. They never change.
    ///
    /// # Errors
    /// The disk's.
    pub async fn read(&self, from: u64, length: usize) -> Result<Bytes, RepoError> {
        let (file, name) = (Arc::clone(&self.file), self.name.clone());
        blocking(move || {
            disk::read(&*file, from, length)
                .map(Bytes::from)
                .map_err(|error| disk::failed_at("read", name.as_ref(), error))
        })
        .await
    }
}

#[cfg(test)]
impl BackupFile {
    pub(crate) fn read_now(&self) -> Result<Vec<u8>, RepoError> {
        let length = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        disk::read(&*self.file, 0, length).map_err(|error| disk::failed_at("read", self.name.as_ref(), error))
    }
}

impl HoldRepo {
    /// The files as they are now.
    #[must_use]
    pub fn backup_view(&self) -> BackupView {
        BackupView {
            did: self.did().to_string(),
            view: self.view(),
        }
    }
}

impl BackupView {
    #[cfg(test)]
    pub(crate) fn of(did: &str, view: View) -> Self {
        Self {
            did: did.to_owned(),
            view: Arc::new(view),
        }
    }

    /// Names the log, in hexadecimal. A restored repository has another one.
    #[must_use]
    pub fn log_id(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.view.log_id)
    }

    /// The newest event.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.view.last.0
    }

    /// The newest commit's revision.
    #[must_use]
    pub fn rev(&self) -> &Tid {
        &self.view.head.rev
    }

    /// What [`MANIFEST`] says of these files.
    ///
    /// # Errors
    /// None in practice.
    pub fn manifest(&self) -> Result<Vec<u8>, RepoError> {
        Manifest::of_view(&self.did, &self.view).encode()
    }

    /// The snapshot, if there is one, and the segments of the log, in the order in which they were written.
    #[must_use]
    pub fn files(&self) -> Vec<BackupFile> {
        let snapshot = self.view.blocks.snapshot.as_ref().map(|snapshot| BackupFile {
            name: car_name(&snapshot.info.rev),
            bytes: snapshot.info.car_bytes,
            is_final: true,
            file: Arc::clone(&snapshot.car),
        });
        let segment = |segment: &crate::log::Segment| BackupFile {
            name: segment::name(segment.number),
            bytes: segment
                .closed
                .map_or(self.view.end.offset, |closed| closed.end)
                .into(),
            is_final: segment.closed.is_some(),
            file: Arc::clone(&segment.file),
        };
        snapshot
            .into_iter()
            .chain(self.view.segments.iter().map(segment))
            .collect()
    }
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The newest commit of the backup.
    pub from_rev: Tid,
    /// Its newest event.
    pub from_seq: u64,
    /// The newest commit now.
    pub rev: Tid,
    /// The newest event now: no lost one had a greater number.
    pub seq: u64,
}

/// Makes a repository in the folder that `options` name, which must be empty, from the files of a backup in `copy`: those of
/// [`BackupView::files`] and [`MANIFEST`]. Hashes, chain, signature and account are checked first. `copy` is changed and can
/// be removed afterwards. The newest commit must have the signature of the key that `options` name, or of one of `signed_by`.
///
/// # Errors
/// [`RepoError::Exists`] when there is a repository; [`RepoError::Corrupt`], [`RepoError::Incomplete`],
/// [`RepoError::OtherDid`], [`RepoError::OtherKey`] when the backup is not that of this account, or not whole;
/// [`RepoError::ClockBehind`] when followers have seen revisions of the future; the disk's: call it again.
pub async fn restore(
    copy: &Path,
    options: RepoOptions,
    signed_by: Vec<PublicKey>,
    clock: Arc<dyn Clock>,
    progress: Progress,
) -> Result<Restored, RepoError> {
    let copy = copy.to_owned();
    blocking(move || {
        let from: Arc<dyn Disk> = Arc::new(RealDisk::open(&copy)?);
        let to: Arc<dyn Disk> = Arc::new(RealDisk::open(&options.dir)?);
        let _lock = Lock::take(&options.dir)?;
        let tids = Arc::new(TidClock::new(Arc::clone(&clock)));
        let options = EngineOptions::of(options, clock, tids);
        let copied = restore_engine(&from, &to, options, &signed_by, &progress)?;
        let view = copied.engine.view();
        Ok(Restored {
            from_rev: copied.from.rev,
            from_seq: copied.from.seq,
            rev: view.head.rev.clone(),
            seq: view.last.0,
        })
    })
    .await
}
