//! Readers that take several steps, and the blocks they still need.
//!
//! A commit takes blocks out of the index that a reader of the commit before may be about to ask for. A reader therefore
//! pins the commit it reads, and rows stay until nobody has an older commit pinned.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::head::Head;

/// Who reads what.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    readers: Arc<Mutex<BTreeMap<u64, usize>>>,
    head: watch::Receiver<Head>,
}

/// A commit whose blocks stay within reach as long as the value lives.
#[derive(Debug)]
pub(crate) struct Pin {
    head: Head,
    readers: Arc<Mutex<BTreeMap<u64, usize>>>,
}

impl Pins {
    pub(crate) fn new(head: watch::Receiver<Head>) -> Self {
        Self {
            readers: Arc::default(),
            head,
        }
    }

    /// The newest commit, without a hold on its blocks.
    pub(crate) fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// Pins the newest commit.
    pub(crate) fn pin(&self) -> Pin {
        // Under the lock, so that `purge_bound` sees either this pin or a head that is no newer than it.
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head();
        *readers.entry(head.seq).or_default() += 1;
        Pin {
            head,
            readers: Arc::clone(&self.readers),
        }
    }

    /// Blocks that were taken out by this commit or an older one are needed by nobody.
    pub(crate) fn purge_bound(&self) -> u64 {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head.borrow().seq;
        readers
            .first_key_value()
            .map_or(head, |(oldest, _)| (*oldest).min(head))
    }
}

impl Pin {
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = readers.get_mut(&self.head.seq) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.head.seq);
            }
        }
    }
}
