//! Best-effort calls to other hosts that the caller does not wait for: revoking a session, aborting an upload.
//!
//! Strangers name the hosts, so a host that does not answer must delay neither the others nor the caller. The caller has already
//! deleted its own state: a call that is not made is lost, and the host cleans up by itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};

/// Bounds on one round of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCallBounds {
    /// Hosts that are called at once.
    pub hosts_at_once: usize,
    /// Calls to one host at once.
    pub calls_at_once: usize,
    /// Time for all calls to one host.
    pub per_host: Duration,
    /// Time for the round.
    pub in_all: Duration,
}

impl Default for HostCallBounds {
    fn default() -> Self {
        Self {
            hosts_at_once: 16,
            calls_at_once: 4,
            per_host: Duration::from_secs(10),
            in_all: Duration::from_mins(1),
        }
    }
}

/// What came of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCalls {
    /// Calls that ended, however they ended.
    pub made: usize,
    /// Calls that panicked, ran out of time or were not begun.
    pub given_up: usize,
}

/// Makes `calls`, each to the host that its key names, within `bounds`. A call that panics is logged and ends alone.
///
/// # Cancel safety
/// Calls that have not ended are dropped.
pub async fn call_hosts<K, F>(calls: impl IntoIterator<Item = (K, F)>, bounds: HostCallBounds) -> HostCalls
where
    K: Eq + Hash,
    F: Future<Output = ()>,
{
    let mut by_host: HashMap<K, Vec<F>> = HashMap::new();
    let mut planned = 0;
    for (host, call) in calls {
        planned += 1;
        by_host.entry(host).or_default().push(call);
    }
    let made = AtomicUsize::new(0);
    let round = stream::iter(by_host.into_values()).for_each_concurrent(bounds.hosts_at_once, |calls| {
        let made = &made;
        let of_host = stream::iter(calls).for_each_concurrent(bounds.calls_at_once, move |call| async move {
            match AssertUnwindSafe(call).catch_unwind().await {
                Ok(()) => {
                    made.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => tracing::error!("a call to another host panicked"),
            }
        });
        async move {
            let _ = tokio::time::timeout(bounds.per_host, of_host).await;
        }
    });
    let _ = tokio::time::timeout(bounds.in_all, round).await;
    let made = made.into_inner();
    HostCalls {
        made,
        given_up: planned - made,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;

    use super::*;

    /// Calls that note their name, and calls that never end.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<&'static str>>>);

    impl Log {
        fn note(&self, name: &'static str) -> BoxFuture<'static, ()> {
            let log = self.clone();
            Box::pin(async move { log.0.lock().unwrap().push(name) })
        }

        fn silent() -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_host_takes_its_own_time_and_nobody_elses() {
        let log = Log::default();
        let mut calls: Vec<(&str, BoxFuture<'_, ()>)> = Vec::new();
        for _ in 0..100 {
            calls.push(("silent", Log::silent()));
        }
        calls.push(("good", log.note("good")));
        let began = tokio::time::Instant::now();
        let outcome = call_hosts(calls, HostCallBounds::default()).await;
        assert_eq!(
            outcome,
            HostCalls {
                made: 1,
                given_up: 100
            }
        );
        // The clock stands still unless a timer is waited for.
        assert_eq!(began.elapsed(), HostCallBounds::default().per_host);
        assert_eq!(*log.0.lock().unwrap(), ["good"]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_silent_hosts_together_take_no_longer_than_the_round() {
        let calls = (0..10_000).map(|host| (host, Log::silent()));
        let began = tokio::time::Instant::now();
        let outcome = call_hosts(calls, HostCallBounds::default()).await;
        assert_eq!(outcome.given_up, 10_000);
        assert_eq!(began.elapsed(), HostCallBounds::default().in_all);
    }

    #[tokio::test]
    async fn a_call_that_panics_ends_alone() {
        let log = Log::default();
        let panics: BoxFuture<'_, ()> = Box::pin(async { panic!("as the test wants it") });
        let calls = [("one", panics), ("one", log.note("after"))];
        let outcome = call_hosts(calls, HostCallBounds::default()).await;
        assert_eq!(outcome, HostCalls { made: 1, given_up: 1 });
        assert_eq!(*log.0.lock().unwrap(), ["after"]);
    }
}
