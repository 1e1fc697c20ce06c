//! Places for work that takes long, of which one party takes a share at most: a party that fills its own waits for itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of places, some of which one party may take. A party is an account, a client or a host. Clones share them.
#[derive(Clone)]
pub struct SharedPlaces {
    all: Arc<Semaphore>,
    share: usize,
    parties: Arc<Mutex<HashMap<String, Party>>>,
}

struct Party {
    places: Arc<Semaphore>,
    /// Callers that have a place or wait for one.
    present: usize,
}

/// Why there is no place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The party has its share.
    Share,
    /// All are taken.
    All,
}

/// One place; dropping it makes room for another.
pub struct Place {
    // Dropped in this order.
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _entry: Entry,
}

/// Keeps a party in the table as long as it is present.
struct Entry {
    places: SharedPlaces,
    party: String,
}

impl SharedPlaces {
    /// `all` places, of which one party may take `share` (at least one).
    #[must_use]
    pub fn new(all: usize, share: usize) -> Self {
        let bounded = |count: usize| count.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(bounded(all))),
            share: bounded(share.max(1)),
            parties: Arc::default(),
        }
    }

    /// Waits for a place for `party`. `None` never happens: the places are never closed.
    ///
    /// # Cancel safety
    /// Safe: a dropped call gives up its turn and holds nothing.
    pub async fn acquire(&self, party: &str) -> Option<Place> {
        let (own, entry) = self.enter(party);
        // In this order: a party that waits for itself is in no other's way.
        let own = own.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place {
            _all: all,
            _own: own,
            _entry: entry,
        })
    }

    /// A place for `party`, if there is one now.
    #[must_use]
    pub fn try_acquire(&self, party: &str) -> Option<Place> {
        self.try_place(party).ok()
    }

    /// As [`try_acquire`](Self::try_acquire), for callers that tell why there is none.
    ///
    /// # Errors
    /// [`Taken`]
    pub fn try_place(&self, party: &str) -> Result<Place, Taken> {
        let (own, entry) = self.enter(party);
        let own = own.try_acquire_owned().map_err(|_| Taken::Share)?;
        let all = Arc::clone(&self.all)
            .try_acquire_owned()
            .map_err(|_| Taken::All)?;
        Ok(Place {
            _all: all,
            _own: own,
            _entry: entry,
        })
    }

    fn enter(&self, party: &str) -> (Arc<Semaphore>, Entry) {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parties.entry(party.to_owned()).or_insert_with(|| Party {
            places: Arc::new(Semaphore::new(self.share)),
            present: 0,
        });
        known.present += 1;
        let entry = Entry {
            places: self.clone(),
            party: party.to_owned(),
        };
        (Arc::clone(&known.places), entry)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut parties = self.places.parties.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parties.get_mut(&self.party) {
            known.present = known.present.saturating_sub(1);
            if known.present == 0 {
                parties.remove(&self.party);
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPlaces")
            .field("free", &self.all.available_permits())
            .field("share", &self.share)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_party_takes_its_share_and_its_others_wait_without_a_place() {
        let places = SharedPlaces::new(3, 1);
        let slow = places.acquire("slow").await.unwrap();
        assert!(places.try_acquire("slow").is_none());
        let mut waits = Box::pin(places.acquire("slow"));
        assert!(
            tokio::time::timeout(Duration::ZERO, waits.as_mut())
                .await
                .is_err()
        );
        let others: Vec<_> = ["one", "two"]
            .map(|party| places.try_acquire(party).unwrap())
            .into();
        assert!(places.try_acquire("three").is_none());
        drop(slow);
        drop((waits.await.unwrap(), others));
        assert!(places.parties.lock().unwrap().is_empty());
    }
}
