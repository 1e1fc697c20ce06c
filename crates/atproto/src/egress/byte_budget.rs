//! Memory for bodies in flight: one number of bytes that all of them share.
//!
//! A body takes its part before it is read and gives it back when it is dropped, so that many long answers at once wait for
//! each other instead of filling the memory. Take everything that one piece of work needs in a single [`ByteBudget::acquire`]: work
//! that holds a part while it waits for more could wait for itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget is counted in units of this many bytes.
const UNIT: usize = 1024;

/// A number of bytes shared by everything in flight. Clones share it.
#[derive(Clone)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    total_units: u32,
}

/// Part of a [`ByteBudget`]; dropping it gives the bytes back.
#[derive(Debug)]
pub struct BytePermit {
    permit: OwnedSemaphorePermit,
}

/// Why a part of the budget cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// More than the whole budget was asked for. Waiting does not help.
    #[error("{bytes} bytes are more than may be in flight at all")]
    NeverFits {
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// Other callers did not release enough in time. Try again later.
    #[error("too many bytes are in flight")]
    Busy,
}

impl ByteBudget {
    /// A budget of `total_bytes`, rounded down to a KiB, at most 4 TiB.
    #[must_use]
    pub fn new(total_bytes: usize) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let total_units = u32::try_from((total_bytes / UNIT).min(most)).unwrap_or(u32::MAX);
        Self {
            free: Arc::new(Semaphore::new(total_units as usize)),
            total_units,
        }
    }

    /// Takes `bytes`, rounded up to a KiB, and waits `patience` at most for others to give them back. Callers are served in the order
    /// in which they came.
    ///
    /// # Errors
    /// [`Exhausted::NeverFits`] at once for more than the whole budget, [`Exhausted::Busy`] after `patience`.
    ///
    /// # Cancel safety
    /// Safe: a dropped call gives up its place and holds nothing.
    pub async fn acquire(&self, bytes: usize, patience: Duration) -> Result<BytePermit, Exhausted> {
        let units = self.units(bytes)?;
        let taken = Arc::clone(&self.free).acquire_many_owned(units);
        match tokio::time::timeout(patience, taken).await {
            Ok(Ok(permit)) => Ok(BytePermit { permit }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Exhausted::Busy),
        }
    }

    /// Takes `bytes`, rounded up to a KiB, if they are free now and no other caller is waiting.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn try_acquire(&self, bytes: usize) -> Result<BytePermit, Exhausted> {
        let units = self.units(bytes)?;
        match Arc::clone(&self.free).try_acquire_many_owned(units) {
            Ok(permit) => Ok(BytePermit { permit }),
            Err(_) => Err(Exhausted::Busy),
        }
    }

    /// The whole budget in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        (self.total_units as usize).saturating_mul(UNIT)
    }

    /// Bytes that are in flight now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let free = self.free.available_permits();
        (self.total_units as usize)
            .saturating_sub(free)
            .saturating_mul(UNIT)
    }

    fn units(&self, bytes: usize) -> Result<u32, Exhausted> {
        u32::try_from(bytes.div_ceil(UNIT))
            .ok()
            .filter(|units| *units <= self.total_units)
            .ok_or(Exhausted::NeverFits { bytes })
    }
}

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBudget")
            .field("total", &self.total())
            .field("in_flight", &self.in_flight())
            .finish()
    }
}

impl BytePermit {
    /// How many bytes it stands for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permit.num_permits().saturating_mul(UNIT)
    }

    /// Gives back what is beyond `bytes`, rounded up to a KiB.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(self.permit.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn what_is_in_flight_stays_within_the_budget() {
        let budget = ByteBudget::new(10 * UNIT);
        let first = budget.acquire(6 * UNIT, NONE).await.unwrap();
        assert_eq!(budget.acquire(5 * UNIT, NONE).await.unwrap_err(), Exhausted::Busy);
        assert_eq!(budget.try_acquire(5 * UNIT).unwrap_err(), Exhausted::Busy);
        let second = budget.acquire(4 * UNIT - 1, NONE).await.unwrap();
        assert_eq!(budget.in_flight(), 10 * UNIT);
        drop((first, second));
        assert_eq!(budget.in_flight(), 0);
    }

    #[tokio::test]
    async fn more_than_the_whole_is_refused_at_once() {
        let budget = ByteBudget::new(10 * UNIT);
        for bytes in [10 * UNIT + 1, usize::MAX] {
            let refused = budget.acquire(bytes, LONG).await.unwrap_err();
            assert_eq!(refused, Exhausted::NeverFits { bytes });
        }
    }

    #[tokio::test]
    async fn those_who_wait_go_on_when_bytes_come_back() {
        let budget = ByteBudget::new(4 * UNIT);
        let held = budget.acquire(4 * UNIT, NONE).await.unwrap();
        let waits = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire(3 * UNIT, LONG).await }
        });
        drop(held);
        assert_eq!(waits.await.unwrap().unwrap().bytes(), 3 * UNIT);
    }

    #[tokio::test]
    async fn a_permit_gives_back_what_it_turns_out_not_to_need() {
        let budget = ByteBudget::new(8 * UNIT);
        let mut permit = budget.acquire(8 * UNIT, NONE).await.unwrap();
        permit.shrink_to(UNIT + 1);
        assert_eq!((permit.bytes(), budget.in_flight()), (2 * UNIT, 2 * UNIT));
        permit.shrink_to(100 * UNIT);
        assert_eq!(permit.bytes(), 2 * UNIT);
        permit.shrink_to(0);
        assert_eq!(budget.in_flight(), 0);
    }
}
