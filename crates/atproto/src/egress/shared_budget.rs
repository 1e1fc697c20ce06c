//! A [`ByteBudget`] of which one party takes a share at most, so that a party that keeps its bytes for long never holds what others
//! need.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::byte_budget::{ByteBudget, BytePermit, Exhausted};

/// One party's part of a budget: this many may fill it together.
const PARTIES: usize = 4;

/// A number of bytes shared by everything in flight, a quarter of it for one party at most. A party is a host, an account or a client.
/// Clones share it.
#[derive(Clone)]
pub struct SharedBudget {
    all: ByteBudget,
    share_bytes: usize,
    parties: Arc<Mutex<HashMap<String, Party>>>,
}

struct Party {
    share: ByteBudget,
    /// Callers that hold a part or wait for one.
    present: usize,
}

/// Part of a [`SharedBudget`]; dropping it gives the bytes back.
pub struct SharePermit {
    // Dropped in this order.
    all: BytePermit,
    own: BytePermit,
    _place: Place,
}

/// Keeps a party in the table as long as it is present.
struct Place {
    budget: SharedBudget,
    party: String,
}

impl SharedBudget {
    /// A budget of `total_bytes`, rounded down to a KiB.
    #[must_use]
    pub fn new(total_bytes: usize) -> Self {
        let all = ByteBudget::new(total_bytes);
        Self {
            share_bytes: all.total() / PARTIES,
            all,
            parties: Arc::default(),
        }
    }

    /// Takes `bytes` for `party`, and waits `patience` at most for others to give them back. What is larger than the party's share, or
    /// than everything, takes all of it.
    ///
    /// The share is taken first: a party that waits for itself is in no other's way. A caller that holds a permit must not wait for
    /// another of the same budget.
    ///
    /// # Errors
    /// [`Exhausted::Busy`] after `patience`.
    ///
    /// # Cancel safety
    /// Safe: a dropped call gives up its place and holds nothing.
    pub async fn acquire(
        &self,
        party: &str,
        bytes: usize,
        patience: Duration,
    ) -> Result<SharePermit, Exhausted> {
        let (share, place) = self.enter(party);
        let take = async {
            let own = share.acquire(bytes.min(share.total()), Duration::MAX).await?;
            let all = self
                .all
                .acquire(bytes.min(self.all.total()), Duration::MAX)
                .await?;
            Ok(SharePermit {
                all,
                own,
                _place: place,
            })
        };
        tokio::time::timeout(patience, take)
            .await
            .unwrap_or(Err(Exhausted::Busy))
    }

    /// Takes `bytes` for `party` if they are free now, as [`Self::acquire`] does.
    ///
    /// # Errors
    /// [`Exhausted::Busy`]
    pub fn try_acquire(&self, party: &str, bytes: usize) -> Result<SharePermit, Exhausted> {
        let (share, place) = self.enter(party);
        Ok(SharePermit {
            own: share.try_acquire(bytes.min(share.total()))?,
            all: self.all.try_acquire(bytes.min(self.all.total()))?,
            _place: place,
        })
    }

    /// The whole budget in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.all.total()
    }

    /// One party's share in bytes.
    #[must_use]
    pub fn share(&self) -> usize {
        self.share_bytes
    }

    /// Bytes that are in flight now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.all.in_flight()
    }

    fn enter(&self, party: &str) -> (ByteBudget, Place) {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = parties.entry(party.to_owned()).or_insert_with(|| Party {
            share: ByteBudget::new(self.share_bytes),
            present: 0,
        });
        entry.present += 1;
        let place = Place {
            budget: self.clone(),
            party: party.to_owned(),
        };
        (entry.share.clone(), place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut parties = self.budget.parties.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = parties.get_mut(&self.party) {
            entry.present = entry.present.saturating_sub(1);
            if entry.present == 0 {
                parties.remove(&self.party);
            }
        }
    }
}

impl SharePermit {
    /// How many bytes it stands for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.all.bytes()
    }

    /// Gives back what is beyond `bytes`, rounded up to a KiB.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.all.shrink_to(bytes);
        self.own.shrink_to(bytes);
    }
}

impl fmt::Debug for SharePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharePermit")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBudget")
            .field("all", &self.all)
            .field("share_bytes", &self.share_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const NONE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn a_party_takes_its_share_and_leaves_the_rest_to_others() {
        let budget = SharedBudget::new(16 * KIB);
        let slow = budget.acquire("slow", 4 * KIB, NONE).await.unwrap();
        assert_eq!(
            budget.acquire("slow", 1, NONE).await.unwrap_err(),
            Exhausted::Busy
        );
        let others: Vec<_> = (0..3)
            .map(|n| budget.try_acquire(&format!("other {n}"), 4 * KIB).unwrap())
            .collect();
        assert_eq!(budget.try_acquire("one more", 1).unwrap_err(), Exhausted::Busy);
        drop(others);
        assert_eq!(budget.in_flight(), 4 * KIB);
        drop(slow);
        assert!(budget.parties.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_larger_than_everything_runs_alone() {
        let budget = SharedBudget::new(16 * KIB);
        let all = budget.acquire("big", 100 * KIB, NONE).await.unwrap();
        assert_eq!((all.bytes(), budget.in_flight()), (16 * KIB, 16 * KIB));
        assert!(budget.try_acquire("small", 1).is_err());
        drop(all);
        let mut permit = budget.try_acquire("small", 4 * KIB).unwrap();
        permit.shrink_to(KIB);
        budget.try_acquire("small", 3 * KIB).unwrap();
    }

    #[tokio::test]
    async fn a_party_that_waits_for_itself_is_in_no_other_s_way() {
        let budget = SharedBudget::new(16 * KIB);
        let _held = budget.acquire("slow", 4 * KIB, NONE).await.unwrap();
        let mut waits = Box::pin(budget.acquire("slow", 4 * KIB, Duration::from_mins(1)));
        assert!(tokio::time::timeout(NONE, waits.as_mut()).await.is_err());
        budget.acquire("good", 4 * KIB, NONE).await.unwrap();
    }
}
