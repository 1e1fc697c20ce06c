//! How much listing accounts may cost: what one listing may read, how many run at once, and how often one account is listed.
//!
//! The operator of a PDS decides how many records an account has, how slowly they come, and whether its revision changes at every
//! look; and every client may ask for its tags. Our own writes are carried over to the index, so an account that is pushed to here
//! is not listed for it.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::egress::party;
use atcr_atproto::syntax::Did;
use atcr_server::shared_places::{Place, SharedPlaces};
use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use crate::error::RegistryError;

/// Listings for readers at once. What their pages take in memory is bounded where they are read.
const READERS: usize = 12;

/// Listings for writers at once, apart from those for readers so that these cannot keep others from pushing.
const WRITERS: usize = 8;

/// Listings from one PDS at once, for readers and for writers each, so that a slow one leaves room for others.
const FROM_ONE_PDS: usize = 2;

/// Listings at once from PDSes below one registered name, which has any number of them: half of all.
const PARTIES: usize = 2;

/// Listings at once that one requester waits for: a quarter of all.
const REQUESTERS: usize = 4;

/// How long a caller waits for a listing to begin before it is told to try again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one listing may take. What was not listed by then is left out.
const LONGEST: TimeDelta = TimeDelta::seconds(60);

/// How far an account may be listed ahead of its allowance: ten listings of a small account in a row.
const BURST: TimeDelta = TimeDelta::seconds(20);

/// The longest an account is not listed again, however much was read.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// What one page takes from the allowance, at least; a page that took longer takes as long as it took.
const PAGE_COST: TimeDelta = TimeDelta::seconds(1);

/// Accounts whose allowance is remembered.
const ACCOUNTS: u64 = 100_000;

/// What one listing may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListingBounds {
    /// Records of one account, of all collections together.
    pub records: u64,
    /// Bytes of one account's records.
    pub bytes: u64,
    /// How long one page may take, with the manifests that are read for it.
    pub page_time: Duration,
}

/// Who a listing is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingFor<'a> {
    /// A requester who asks what an account has.
    Reader(&'a str),
    /// The account's owner, who writes to it.
    Writer(&'a str),
}

/// The right to run a listing; it ends when it is dropped.
pub struct ListingPermit {
    _of_requester: Place,
    _from_pds: Place,
    _in_all: Place,
}

/// Listings of one purpose.
struct Lane {
    /// By who asks.
    by_requester: SharedPlaces,
    /// By the PDS.
    by_pds: SharedPlaces,
    /// By whose PDS it is, and in all.
    in_all: SharedPlaces,
}

impl Lane {
    fn new(in_all: usize) -> Self {
        Self {
            by_requester: SharedPlaces::new(usize::MAX, in_all / REQUESTERS),
            by_pds: SharedPlaces::new(usize::MAX, FROM_ONE_PDS),
            in_all: SharedPlaces::new(in_all, in_all / PARTIES),
        }
    }

    /// `None` when the places were closed, which they never are.
    async fn enter(&self, requester: &str, pds: Option<&Url>) -> Option<ListingPermit> {
        let authority = pds.map(Url::authority).unwrap_or_default();
        let host = pds.and_then(Url::host_str).unwrap_or_default();
        // In this order: a listing that waits for its own requester or its own PDS is in the way of no other.
        Some(ListingPermit {
            _of_requester: self.by_requester.acquire(requester).await?,
            _from_pds: self.by_pds.acquire(authority).await?,
            _in_all: self.in_all.acquire(&party(host)).await?,
        })
    }
}

/// The limits of listing.
pub struct ListingLimits {
    bounds: ListingBounds,
    clock: Arc<dyn Clock>,
    readers: Lane,
    writers: Lane,
    /// When each account's pages so far are paid for.
    paid: moka::sync::Cache<Did, DateTime<Utc>>,
}

impl ListingLimits {
    /// Limits by the time of `clock`.
    #[must_use]
    pub fn new(bounds: ListingBounds, clock: Arc<dyn Clock>) -> Self {
        Self {
            bounds,
            clock,
            readers: Lane::new(READERS),
            writers: Lane::new(WRITERS),
            paid: moka::sync::Cache::new(ACCOUNTS),
        }
    }

    /// How long one page may take.
    #[must_use]
    pub fn page_time(&self) -> Duration {
        self.bounds.page_time
    }

    /// How long `did` may not be listed yet; `None` when it may.
    #[must_use]
    pub fn pause(&self, did: &Did) -> Option<Duration> {
        let ahead = self.paid.get(did)? - self.clock.now();
        (ahead - BURST).to_std().ok().filter(|pause| !pause.is_zero())
    }

    /// Waits for the right to list an account of the server `pds`.
    ///
    /// # Errors
    /// [`RegistryError::TooManyRequests`] when others have run for too long.
    pub async fn permit(
        &self,
        purpose: ListingFor<'_>,
        pds: Option<&Url>,
    ) -> Result<ListingPermit, RegistryError> {
        let (lane, requester) = match purpose {
            ListingFor::Reader(requester) => (&self.readers, requester),
            ListingFor::Writer(owner) => (&self.writers, owner),
        };
        match tokio::time::timeout(PATIENCE, lane.enter(requester, pds)).await {
            Ok(Some(permit)) => Ok(permit),
            Ok(None) | Err(_) => Err(RegistryError::TooManyRequests {
                retry_after: PATIENCE,
            }),
        }
    }

    /// The account of one listing's cost, which begins now.
    #[must_use]
    pub fn meter(&self, did: &Did) -> ListingMeter<'_> {
        let now = self.clock.now();
        ListingMeter {
            limits: self,
            did: did.clone(),
            began: now,
            charged: now,
            records: 0,
            bytes: 0,
        }
    }
}

/// What one listing has cost so far.
pub struct ListingMeter<'a> {
    limits: &'a ListingLimits,
    did: Did,
    began: DateTime<Utc>,
    charged: DateTime<Utc>,
    records: u64,
    bytes: u64,
}

impl ListingMeter<'_> {
    /// Takes a page from the account's allowance, whatever came of it.
    pub fn charge(&mut self) {
        let now = self.limits.clock.now();
        let cost = (now - self.charged).max(PAGE_COST);
        self.charged = now;
        self.limits.paid.entry(self.did.clone()).and_upsert_with(|paid| {
            let paid = paid.map_or(now, |entry| entry.into_value().max(now));
            (paid + cost).min(now + BURST + LONGEST_PAUSE)
        });
    }

    /// Counts what a page had.
    pub fn count(&mut self, records: usize, bytes: u64) {
        self.records += records as u64;
        self.bytes += bytes;
    }

    /// Whether the listing has read, or taken, as much as it may.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.records >= self.limits.bounds.records
            || self.bytes >= self.limits.bounds.bytes
            || self.limits.clock.now() - self.began >= LONGEST
    }

    /// Records read.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
