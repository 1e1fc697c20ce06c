//! Blocks that came or went since the snapshot.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::BlockKey;
use crate::log::{Aux, Position};

/// What is known of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// 0: the log does not have it, or not since the snapshot.
    pub(crate) length: u32,
    /// How many more places refer to it than in the snapshot.
    pub(crate) references: i32,
    /// The newest revision that brought it in.
    pub(crate) rev: u64,
}

/// Grows with each commit, and is let go of with the next snapshot. A block's first place stays the one that is known, so
/// that readers of an older commit find it.
#[derive(Debug, Default)]
pub(crate) struct Recent(RwLock<HashMap<BlockKey, Slot>>);

impl Recent {
    /// Of what is known already.
    pub(crate) fn of(slots: HashMap<BlockKey, Slot>) -> Self {
        Self(RwLock::new(slots))
    }

    /// Takes in a commit whose frame begins at `frame`.
    pub(crate) fn apply(&self, frame: Position, aux: &Aux) {
        let mut slots = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for change in &aux.blocks {
            let slot = slots.entry(change.key).or_default();
            slot.references = slot.references.saturating_add(change.references);
            if change.length == 0 {
                continue;
            }
            slot.rev = aux.rev;
            if slot.length == 0 {
                slot.segment = frame.segment;
                slot.offset = frame.offset.saturating_add(change.offset);
                slot.length = change.length;
            }
        }
    }

    pub(crate) fn find(&self, key: &BlockKey) -> Option<Slot> {
        let slots = self.0.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(key).copied()
    }

    /// This and what came later, for a snapshot that was not finished.
    pub(crate) fn joined_with(&self, later: &Self) -> Self {
        let mut slots = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (key, slot) in &*later.0.read().unwrap_or_else(PoisonError::into_inner) {
            let joined = slots.entry(*key).or_default();
            let references = joined.references.saturating_add(slot.references);
            let rev = joined.rev.max(slot.rev);
            if joined.length == 0 {
                *joined = *slot;
            }
            joined.references = references;
            joined.rev = rev;
        }
        Self(RwLock::new(slots))
    }
}
