//! How many requests to one host are under way at once.
//!
//! A host that takes requests and answers none of them keeps its own callers waiting, and no more than
//! [`HostLimit::in_flight`] plus [`HostLimit::waiting`] of those: everything after that fails at once, and the rest of the
//! network goes on.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::error::EgressError;
use crate::bounds::HOST_LIMIT;

/// The limits of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimit {
    /// Requests under way at once, from before the connection until the answer has been read, or until a stream begins.
    pub in_flight: usize,
    /// Requests that wait for one of those to end; further ones are refused.
    pub waiting: usize,
    /// How long a request waits.
    pub patience: Duration,
}

impl HostLimit {
    /// `in_flight` requests, four times as many that wait, and the patience of [`HOST_LIMIT`].
    #[must_use]
    pub fn of(in_flight: u64) -> Self {
        let most = Semaphore::MAX_PERMITS / 8;
        let in_flight = usize::try_from(in_flight).unwrap_or(most).min(most);
        Self {
            in_flight,
            waiting: in_flight * 4,
            patience: HOST_LIMIT.patience,
        }
    }
}

/// Requests under way, by host and port. Clones share them.
#[derive(Clone)]
pub(super) struct HostPermits {
    limit: HostLimit,
    hosts: Arc<Mutex<HashMap<String, Host>>>,
}

struct Host {
    permits: Arc<Semaphore>,
    /// Requests that are under way or wait.
    present: usize,
}

/// One request to a host under way.
pub(super) struct HostPermit {
    // Dropped in this order: the permit, then the place.
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

/// Keeps a host in the table as long as a request to it is present.
struct Place {
    permits: HostPermits,
    host: String,
}

impl HostPermits {
    pub(super) fn new(limit: HostLimit) -> Self {
        Self {
            limit,
            hosts: Arc::default(),
        }
    }

    /// Waits until a request to the host of `url` may begin.
    pub(super) async fn acquire(&self, url: &Url) -> Result<HostPermit, EgressError> {
        let host = key(url);
        let busy = || EgressError::Busy {
            host: url.host_str().unwrap_or_default().to_owned(),
        };
        let (permits, place) = self.enter(host).ok_or_else(busy)?;
        let permit = tokio::time::timeout(self.limit.patience, permits.acquire_owned())
            .await
            .map_err(|_| busy())?
            // The semaphore is never closed.
            .map_err(|_| busy())?;
        Ok(HostPermit {
            _permit: permit,
            _place: place,
        })
    }

    fn enter(&self, host: String) -> Option<(Arc<Semaphore>, Place)> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = hosts.entry(host.clone()).or_insert_with(|| Host {
            permits: Arc::new(Semaphore::new(self.limit.in_flight)),
            present: 0,
        });
        if entry.present >= self.limit.in_flight.saturating_add(self.limit.waiting) {
            return None;
        }
        entry.present += 1;
        let place = Place {
            permits: self.clone(),
            host,
        };
        Some((Arc::clone(&entry.permits), place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.permits.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = hosts.get_mut(&self.host) {
            entry.present = entry.present.saturating_sub(1);
            if entry.present == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

impl fmt::Debug for HostPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostPermits")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Host and port: two servers of one machine do not wait for each other.
fn key(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(in_flight: usize, waiting: usize, patience: Duration) -> HostPermits {
        HostPermits::new(HostLimit {
            in_flight,
            waiting,
            patience,
        })
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_full_host_refuses_and_leaves_others_alone() {
        let permits = permits(1, 0, Duration::from_mins(1));
        let slow = url("https://slow.example/a");
        let held = permits.acquire(&slow).await.unwrap();
        for same in ["https://slow.example./b", "https://slow.example:443/"] {
            assert!(matches!(
                permits.acquire(&url(same)).await,
                Err(EgressError::Busy { host }) if host.starts_with("slow.example")
            ));
        }
        for other in ["https://slow.example:8443/", "https://good.example/"] {
            permits.acquire(&url(other)).await.unwrap();
        }
        drop(held);
        permits.acquire(&slow).await.unwrap();
    }

    #[tokio::test]
    async fn waiting_ends() {
        let permits = permits(1, 1, Duration::ZERO);
        let slow = url("https://slow.example/");
        let _held = permits.acquire(&slow).await.unwrap();
        assert!(matches!(
            permits.acquire(&slow).await,
            Err(EgressError::Busy { .. })
        ));
    }

    #[tokio::test]
    async fn hosts_without_requests_are_forgotten() {
        let permits = permits(1, 1, Duration::ZERO);
        for n in 0..100 {
            drop(
                permits
                    .acquire(&url(&format!("https://h{n}.example/")))
                    .await
                    .unwrap(),
            );
        }
        let slow = url("https://slow.example/");
        let held = permits.acquire(&slow).await.unwrap();
        // Who gives up is gone as well.
        assert!(permits.acquire(&slow).await.is_err());
        assert_eq!(permits.hosts.lock().unwrap().len(), 1);
        drop(held);
        assert!(permits.hosts.lock().unwrap().is_empty());
    }
}
