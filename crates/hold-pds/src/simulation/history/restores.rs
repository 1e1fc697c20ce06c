//! Backups of a history, and machines that are lost.

use std::sync::Arc;

use atcr_atproto::clock::TidClock;
use atcr_atproto::syntax::{Cid, Tid};
use atcr_repo::DataError;
use atcr_repo::mst::{Node, NodeSource, Tree};
use rand::Rng as _;

use super::{History, Records, did, options_of};
use crate::backup::{BackupView, MANIFEST};
use crate::disk::Disk;
use crate::engine::{Engine, EngineOptions, restore};
use crate::error::RepoError;
use crate::progress::Progress;
use crate::simulation::disk::SimDisk;

/// The files of a backup, and the records in them.
#[derive(Clone)]
pub(super) struct Copied {
    files: Vec<(String, Vec<u8>)>,
    records: Records,
    rev: Tid,
}

/// A tree that is made in memory needs none.
struct NoNodes;

impl NodeSource for NoNodes {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        Err(DataError::Missing(*cid))
    }
}

impl History {
    /// Restores the backup onto a disk.
    pub(in crate::simulation) fn restore_into(&self, to: &SimDisk) -> Result<Engine, RepoError> {
        let copy = SimDisk::new(0, false);
        for (name, bytes) in self.backup.iter().flat_map(|copied| &copied.files) {
            copy.create(name).unwrap().write_at(0, bytes).unwrap();
        }
        let (from, to): (Arc<dyn Disk>, Arc<dyn Disk>) = (Arc::new(copy), Arc::new(to.clone()));
        let options = options_of(self.clock.clone(), Arc::new(TidClock::new(self.clock.clone())));
        restore(&from, &to, options, &[], &Progress::none()).map(|restored| restored.engine)
    }

    /// Copies what is acknowledged.
    pub(in crate::simulation) fn back_up(&mut self) -> Result<(), String> {
        self.disk.unplan();
        if self.disk.is_stopped() {
            return Ok(());
        }
        let view = BackupView::of(did().as_str(), self.view().clone());
        let mut files = vec![(MANIFEST.to_owned(), view.manifest().unwrap())];
        for file in view.files() {
            let bytes = file.read_now().map_err(|error| error.to_string())?;
            files.push((file.name, bytes));
        }
        self.backup = Some(Copied {
            files,
            records: self.records.clone(),
            rev: view.rev().clone(),
        });
        Ok(())
    }

    /// The machine is lost; another one gets the newest backup, in spite of crashes.
    pub(super) fn lose_the_folder(&mut self) -> Result<(), String> {
        let Some(copied) = self.backup.clone() else {
            return Ok(());
        };
        let seed = self.random.random();
        self.engine = None;
        self.disk = SimDisk::new(seed, false);
        self.tids = Arc::new(TidClock::new(self.clock.clone()));
        loop {
            let copy = SimDisk::new(seed, false);
            for (name, bytes) in &copied.files {
                copy.create(name).unwrap().write_at(0, bytes).unwrap();
            }
            self.plan_fault();
            let to: Arc<dyn Disk> = Arc::new(self.disk.clone());
            let from: Arc<dyn Disk> = Arc::new(copy);
            let restored = restore(
                &from,
                &to,
                options_of(self.clock.clone(), self.tids.clone()),
                &[],
                &Progress::none(),
            );
            self.disk.unplan();
            let is_half = match restored {
                Ok(restored) if !self.disk.is_stopped() => {
                    if restored.from.rev != copied.rev {
                        return Err("another revision was restored".to_owned());
                    }
                    self.engine = Some(restored.engine);
                    break;
                }
                Ok(_) | Err(RepoError::Disk { .. } | RepoError::PerhapsWritten(_)) => true,
                // The last try ended after the repository was whole, and its answer was lost.
                Err(RepoError::Exists { .. }) => false,
                Err(error) => return Err(format!("a restore failed: {error}")),
            };
            if self.disk.is_stopped() || self.random.random_bool(0.3) {
                self.disk.restart();
            }
            if !is_half {
                self.restored_to(copied);
                return Ok(());
            }
            self.check_not_half_open(&to, &copied)?;
        }
        self.restored_to(copied);
        self.follow()
    }

    /// What a restore that broke off leaves is no repository, or the whole one.
    fn check_not_half_open(&self, to: &Arc<dyn Disk>, copied: &Copied) -> Result<(), String> {
        if self.disk.is_stopped() {
            return Ok(());
        }
        let tids = Arc::new(TidClock::new(self.clock.clone()));
        let options = EngineOptions {
            must_exist: true,
            ..options_of(self.clock.clone(), tids)
        };
        match Engine::open(Arc::clone(to), options) {
            Err(RepoError::HalfRestored { .. } | RepoError::NoRepository { .. }) => Ok(()),
            Ok(engine) if engine.view().head.rev > copied.rev => Ok(()),
            Ok(_) => Err("half of a repository opens".to_owned()),
            Err(error) => Err(format!("what a restore has left: {error}")),
        }
    }

    fn restored_to(&mut self, copied: Copied) {
        self.gone.extend(self.records.values());
        self.records = copied.records;
        self.perhaps.clear();
        if let Ok(root) = self
            .records
            .iter()
            .try_fold(Tree::empty(), |tree, (path, cid)| tree.put(&NoNodes, path, *cid))
        {
            self.states
                .insert(root.finish().unwrap().root, self.records.clone());
        }
        self.consumer.may_break = true;
        self.restores += 1;
    }
}
