use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::{Clock, ManualClock};
use crate::identity::cache::ExpiringCache;

fn cache(clock: &Arc<ManualClock>) -> ExpiringCache<&'static str, usize> {
    ExpiringCache::new(10, Duration::from_hours(1), clock.clone())
}

#[tokio::test]
async fn a_value_is_looked_up_again_once_it_has_expired() {
    let clock = ManualClock::standing();
    let cache = cache(&clock);
    let minute = Duration::from_mins(1);
    let lookups = AtomicUsize::new(0);
    let ask = || {
        cache.get_or_try_insert(&"key", async {
            Ok::<_, Infallible>((lookups.fetch_add(1, Ordering::SeqCst), clock.now() + minute))
        })
    };
    assert_eq!((ask().await.unwrap(), ask().await.unwrap()), (0, 0));
    clock.pass(minute);
    assert_eq!((ask().await.unwrap(), ask().await.unwrap()), (1, 1));
    cache.invalidate(&"key").await;
    assert_eq!(cache.get(&"key").await, None);
    assert_eq!(ask().await.unwrap(), 2);
}

#[tokio::test]
async fn callers_who_wait_share_one_lookup_and_its_error() {
    let clock = ManualClock::standing();
    let cache = cache(&clock);
    let lookups = AtomicUsize::new(0);
    let gate = tokio::sync::Barrier::new(2);
    let fail = || async {
        cache
            .get_or_try_insert(&"key", async {
                lookups.fetch_add(1, Ordering::SeqCst);
                gate.wait().await;
                Err::<(usize, _), _>("down")
            })
            .await
            .unwrap_err()
    };
    // Polled in order: both askers are waiting before the gate opens.
    let (first, second, _) = tokio::join!(biased; fail(), fail(), gate.wait());
    assert_eq!((*first, *second), ("down", "down"));
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
    assert_eq!(cache.get(&"key").await, None);
}

#[tokio::test]
async fn a_lookup_that_is_dropped_is_taken_over() {
    let clock = ManualClock::standing();
    let cache = cache(&clock);
    let expires_at = clock.now() + Duration::from_mins(1);
    {
        let stuck = cache.get_or_try_insert(&"key", std::future::pending::<Result<_, Infallible>>());
        let mut stuck = std::pin::pin!(stuck);
        assert!(futures_util::poll!(&mut stuck).is_pending());
    }
    let value = cache
        .get_or_try_insert(&"key", async { Ok::<_, Infallible>((7, expires_at)) })
        .await;
    assert_eq!(value.unwrap(), 7);
}
