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
    /// The newest revision that brought it in, and [`CAME`].
    rev: u64,
}

/// A bit that no revision has: the block came before it went, if it went, so that the snapshot did not have it, or has it all the time.
const CAME: u64 = 1 << 63;

impl Slot {
    /// A block that one more place refers to.
    pub(crate) fn new(segment: u32, offset: u32, length: u32, rev: u64) -> Self {
        Self {
            segment,
            offset,
            length,
            references: 1,
            rev: rev | CAME,
        }
    }

    /// The newest revision that brought it in.
    pub(crate) fn rev(&self) -> u64 {
        self.rev & !CAME
    }

    /// Whether only readers of an older commit need to know of it: it came and went.
    fn is_over(&self) -> bool {
        self.references == 0 && self.rev & CAME != 0
    }
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

    /// Takes in a commit whose frame begins at `frame`. Returns the blocks that came and went since the snapshot: once nobody reads an
    /// older commit, they can be [forgotten](Self::forget).
    pub(crate) fn apply(&self, frame: Position, aux: &Aux) -> Vec<BlockKey> {
        let mut slots = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut over = Vec::new();
        for change in &aux.blocks {
            let slot = slots.entry(change.key).or_insert(Slot {
                rev: if change.references > 0 { CAME } else { 0 },
                ..Slot::default()
            });
            slot.references = slot.references.saturating_add(change.references);
            if slot.is_over() {
                over.push(change.key);
            }
            if change.length == 0 {
                continue;
            }
            slot.rev = aux.rev | slot.rev & CAME;
            if slot.length == 0 {
                slot.segment = frame.segment;
                slot.offset = frame.offset.saturating_add(change.offset);
                slot.length = change.length;
            }
        }
        over
    }

    /// Lets go of those blocks, unless they have come again.
    pub(crate) fn forget(&self, keys: &[BlockKey]) {
        let mut slots = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if slots.get(key).is_some_and(Slot::is_over) {
                slots.remove(key);
            }
        }
    }

    /// How many blocks it knows of.
    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn find(&self, key: &BlockKey) -> Option<Slot> {
        let slots = self.0.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(key).copied()
    }

    /// This and what came later, for a snapshot that was not finished.
    pub(crate) fn joined_with(&self, later: &Self) -> Self {
        let mut slots = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        for (key, slot) in &*later.0.read().unwrap_or_else(PoisonError::into_inner) {
            let joined = slots.entry(*key).or_insert(Slot {
                rev: slot.rev & CAME,
                ..Slot::default()
            });
            let references = joined.references.saturating_add(slot.references);
            let rev = joined.rev().max(slot.rev()) | joined.rev & CAME;
            if joined.length == 0 {
                *joined = *slot;
            }
            joined.references = references;
            joined.rev = rev;
        }
        Self(RwLock::new(slots))
    }
}

#[cfg(test)]
mod tests {
    use atcr_atproto::data_model::{DAG_CBOR, cid_of};

    use super::*;
    use crate::log::BlockChange;

    const A: BlockKey = BlockKey([1; 16]);
    const B: BlockKey = BlockKey([2; 16]);

    /// Applies one commit: blocks with the numbers of places that refer to them from now on.
    fn commit(recent: &Recent, rev: u64, blocks: &[(BlockKey, i32)]) -> Vec<BlockKey> {
        let cid = cid_of(DAG_CBOR, b"");
        let change = |(key, references): &(BlockKey, i32)| BlockChange {
            key: *key,
            offset: 8,
            length: if *references > 0 { 5 } else { 0 },
            references: *references,
        };
        let aux = Aux {
            commit: cid,
            data: cid,
            rev,
            blocks: blocks.iter().map(change).collect(),
        };
        recent.apply(Position::default(), &aux)
    }

    #[test]
    fn what_came_and_went_is_forgotten_unless_it_comes_again() {
        let recent = Recent::default();
        assert!(commit(&recent, 1, &[(A, 1), (B, 1)]).is_empty());
        let over = commit(&recent, 2, &[(A, -1), (B, -1)]);
        assert_eq!(over, [A, B]);
        assert!(recent.find(&A).is_some(), "for readers of the commit before");
        commit(&recent, 3, &[(B, 1)]);
        recent.forget(&over);
        assert_eq!(recent.find(&A), None);
        assert_eq!(
            recent.find(&B).map(|slot| (slot.rev(), slot.length)),
            Some((3, 5))
        );
    }

    #[test]
    fn what_the_snapshot_has_and_went_and_came_back_keeps_its_newest_revision() {
        let recent = Recent::default();
        assert!(commit(&recent, 1, &[(A, -1)]).is_empty());
        let over = commit(&recent, 2, &[(A, 1)]);
        recent.forget(&[A]);
        assert!(over.is_empty());
        assert_eq!(recent.find(&A).map(|slot| slot.rev()), Some(2));
    }

    #[test]
    fn joined_with_what_came_later_a_block_is_over_only_if_the_earlier_one_came_first() {
        let (earlier, later) = (Recent::default(), Recent::default());
        commit(&earlier, 1, &[(A, -1), (B, 1)]);
        commit(&later, 2, &[(A, 1), (B, -1)]);
        let joined = earlier.joined_with(&later);
        joined.forget(&[A, B]);
        assert_eq!(
            joined.find(&A).map(|slot| (slot.rev(), slot.references)),
            Some((2, 0))
        );
        assert_eq!(joined.find(&B), None);
    }
}
