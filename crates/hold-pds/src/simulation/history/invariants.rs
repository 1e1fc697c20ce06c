//! What has to be true after every step of a history: of the repository, of its folder, and of what a follower has.

use std::collections::BTreeSet;

use atcr_atproto::syntax::Cid;
use atcr_repo::mst::{Tree, range};

use super::{History, Records, key};
use crate::blocks::BlockKey;
use crate::blocks::walk::{Step, Walk};

impl History {
    pub(super) fn found(&self) -> Result<Records, String> {
        let view = self.view();
        let tree = view.tree().map_err(|error| error.to_string())?;
        let keys = range::ascending(&tree, view, "", None, usize::MAX).map_err(|error| error.to_string())?;
        Ok(keys
            .into_iter()
            .map(|(key, cid)| (key.to_string(), cid))
            .collect())
    }

    /// The follower reads what is new.
    pub(super) fn follow(&mut self) -> Result<(), String> {
        let view = self.view().clone();
        if self.consumer.seq < view.dropped_seq && !self.consumer.may_break {
            return Err("events were dropped that a follower of the last seconds has not read".to_owned());
        }
        let mut reader = view.reader(view.seek(self.consumer.seq));
        while let Some(entry) = reader.next_entry().map_err(|error| error.to_string())? {
            if entry.header.seq > self.consumer.seq {
                let frame = entry
                    .header
                    .frame(entry.bytes)
                    .map_err(|damage| damage.0.to_owned())?;
                let resyncs = self.consumer.resyncs;
                self.consumer.take(frame, &key().public_key())?;
                if self.consumer.resyncs > resyncs {
                    let root = self.consumer.root().unwrap();
                    let state = self.states.get(&root).ok_or("a sync without an import")?;
                    self.consumer.records.clone_from(state);
                }
            }
        }
        if self.consumer.seq != view.last.0 {
            return Err(format!(
                "the follower is at {} and the log at {}",
                self.consumer.seq, view.last.0
            ));
        }
        if self.consumer.records != self.records {
            return Err("the follower has other records".to_owned());
        }
        self.consumer.may_break = false;
        Ok(())
    }

    /// Every block is there, the tree is the one that these records make, and what is gone is not served.
    pub(in crate::simulation) fn check_all(&mut self) -> Result<(), String> {
        self.disk.unplan();
        if self.disk.is_stopped() || self.engine.is_none() {
            return Ok(());
        }
        let view = self.view().clone();
        let mut walk = Walk::new(view.clone(), 0);
        let mut found = Records::new();
        while let Some(step) = walk.step().map_err(|error| error.to_string())? {
            if let Step::Record { path, cid, .. } = step {
                found.insert(path.to_string(), cid);
            }
        }
        if found != self.records {
            return Err("the walk finds other records".to_owned());
        }
        let mut tree = Tree::empty();
        for (path, cid) in &found {
            tree = tree.put(&view, path, *cid).map_err(|error| error.to_string())?;
        }
        if tree.finish().unwrap().root != view.head.data {
            return Err("the tree is not the one that these records make".to_owned());
        }
        let live: BTreeSet<Cid> = found.into_values().collect();
        for cid in self.gone.iter().chain(&live) {
            let is_live = view.blocks.is_live(&BlockKey::of(cid).unwrap());
            if is_live.map_err(|error| error.to_string())? != live.contains(cid) {
                return Err(format!("{cid} is live: {}", !live.contains(cid)));
            }
        }
        let bytes: usize = self.disk.sizes().iter().map(|(_, size)| size).sum();
        if bytes > 2_000_000 {
            return Err(format!("the folder has {bytes} bytes: {:?}", self.disk.sizes()));
        }
        Ok(())
    }
}
