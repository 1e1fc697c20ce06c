//! Refresh tokens are good once: writes that fail, leases of processes that die.

use std::time::Duration;

use atcr_atproto::clock::Clock as _;
use atcr_sessions::SessionError;
use atcr_sessions::oauth::ports::OAuthSessionStore as _;
use atcr_sessions::ports::SessionSource as _;
use chrono::TimeDelta;

use super::Place;

#[tokio::test]
async fn a_refresh_that_cannot_be_written_is_used_and_written_later() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    process.store.fail_replaces(1);
    for _ in 0..3 {
        assert!(place.is_live(&process).await);
    }
    assert_eq!(place.refreshes(), 1);
    process.store.replaced.notified().await;
    // What comes after finds it: another process, and the next refresh.
    let next = place.process().await;
    assert!(place.is_live(&next).await);
    assert_eq!(place.refreshes(), 1);
    place.clock.advance(TimeDelta::hours(2));
    assert!(place.is_live(&next).await);
    assert_eq!((place.refreshes(), place.pds.oauth_sessions()), (2, 1));
}

#[tokio::test]
async fn a_session_that_is_only_in_memory_is_written_before_its_next_refresh() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    process.store.fail_replaces(u32::MAX);
    assert!(place.is_live(&process).await);
    place.clock.advance(TimeDelta::hours(2));
    // The spent token is not tried again.
    assert!(process.sessions.credential(&place.alice).await.is_err());
    assert_eq!(place.refreshes(), 1);
    process.store.fail_replaces(0);
    assert!(place.is_live(&process).await);
    assert_eq!((place.refreshes(), place.pds.oauth_sessions()), (2, 1));
}

#[tokio::test]
async fn of_sign_ins_at_once_one_stays_and_the_others_are_revoked() {
    let place = Place::new().await;
    let process = place.process().await;
    let sessions = [
        place.session(&process).await,
        place.session(&process).await,
        place.session(&process).await,
        place.session(&process).await,
    ];
    assert_eq!(place.pds.oauth_sessions(), 4);
    let kept = sessions.map(|session| process.sessions.keep(session));
    for outcome in futures_util::future::join_all(kept).await {
        outcome.unwrap();
    }
    process.stop().await;
    assert_eq!(place.pds.oauth_sessions(), 1);
    // It is the one that is kept, here and on disk.
    let next = place.process().await;
    place.clock.advance(TimeDelta::hours(2));
    assert!(place.is_live(&next).await);
}

#[tokio::test]
async fn the_lease_of_a_process_that_died_ends() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    let stored = process.store.find(&place.alice).await.unwrap().unwrap();
    let now = place.clock.now();
    let until = now + TimeDelta::seconds(60);
    let leased = process
        .store
        .try_lease(&place.alice, stored.version, now, until)
        .await;
    assert!(leased.unwrap());
    let died = async {
        process.store.leases_refused.notified().await;
        assert_eq!(place.refreshes(), 0);
        place.clock.advance(TimeDelta::seconds(60));
    };
    let (is_live, ()) = tokio::join!(place.is_live(&process), died);
    assert!(is_live);
    assert_eq!(place.refreshes(), 1);
}

#[tokio::test]
async fn a_token_that_a_process_spent_before_it_died_ends_the_session_clearly() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    let stored = process.store.find(&place.alice).await.unwrap().unwrap();
    process.client.refresh(&stored.session).await.unwrap();
    let error = process.sessions.credential(&place.alice).await.unwrap_err();
    let SessionError::Ended { sentence } = error else {
        panic!("{error}");
    };
    assert!(
        sentence.ends_with("sign in again at https://registry.example/auth/oauth/login"),
        "{sentence}"
    );
    assert!(process.store.find(&place.alice).await.unwrap().is_none());
    assert!(!place.is_live(&process).await);
}

#[tokio::test]
async fn the_lease_outlasts_what_a_refresh_may_take() {
    let place = Place::new().await;
    for seconds in [1, 15, 300] {
        let process = place.process_that_waits(Duration::from_secs(seconds)).await;
        place.sign_in(&process).await;
        place.clock.advance(TimeDelta::hours(2));
        assert!(place.is_live(&process).await);
        let lease = process.store.leases.lock().unwrap().pop().unwrap();
        let longest = process.client.longest_refresh();
        // Twice, since a server may want its nonce first.
        assert!(longest > 2 * Duration::from_secs(seconds), "{longest:?}");
        assert!(lease.to_std().unwrap() > longest, "{lease} {longest:?}");
    }
}
