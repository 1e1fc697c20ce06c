//! Sign-outs that meet reads, refreshes and other processes.

use atcr_atproto::clock::Clock as _;
use atcr_sessions::oauth::ports::OAuthSessionStore as _;
use atcr_sessions::ports::SessionSource as _;
use chrono::TimeDelta;

use super::Place;

#[tokio::test]
async fn signing_out_revokes_a_session_that_is_only_in_memory() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    place.clock.advance(TimeDelta::hours(2));
    process.store.fail_replaces(u32::MAX);
    assert!(place.is_live(&process).await);
    assert_eq!(place.pds.oauth_sessions(), 1);
    process.sessions.end(&place.alice).await.unwrap();
    assert_eq!(place.pds.oauth_sessions(), 0);
    assert!(!place.is_live(&process).await);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_interrupt_a_sign_out() {
    let place = Place::new().await;
    let process = place.process().await;
    place.sign_in(&process).await;
    let held = process.store.hold_next_take();
    tokio::select! {
        _ = process.sessions.end(&place.alice) => panic!("it waits"),
        reached = held.reached => reached.unwrap(),
    }
    held.go_on.send(()).unwrap();
    process.stop().await;
    assert_eq!(place.pds.oauth_sessions(), 0);
    assert!(!place.is_live(&process).await);
}

#[tokio::test]
async fn a_read_that_a_sign_out_overtakes_is_not_remembered() {
    let place = Place::new().await;
    let first = place.process().await;
    place.sign_in(&first).await;
    // It has nothing in memory.
    let process = place.process().await;
    let held = process.store.hold_next_read();
    let reading = async {
        process.sessions.credential(&place.alice).await.unwrap();
    };
    let signing_out = async {
        held.reached.await.unwrap();
        process.sessions.end(&place.alice).await.unwrap();
        held.go_on.send(()).unwrap();
    };
    tokio::join!(reading, signing_out);
    assert!(!place.is_live(&process).await);
    assert_eq!(place.pds.oauth_sessions(), 0);
}

#[tokio::test]
async fn signing_out_ends_the_session_that_another_process_has_renewed_meanwhile() {
    let place = Place::new().await;
    let (one, other) = (place.process().await, place.process().await);
    place.sign_in(&one).await;
    assert!(place.is_live(&other).await);
    place.clock.advance(TimeDelta::hours(2));
    let held = one.store.hold_next_read();
    let signing_out = one.sessions.end(&place.alice);
    tokio::pin!(signing_out);
    // Whatever it reads first is old by the time it goes on.
    let is_over = tokio::select! {
        ended = &mut signing_out => {
            ended.unwrap();
            true
        }
        reached = held.reached => {
            reached.unwrap();
            assert!(place.is_live(&other).await);
            held.go_on.send(()).unwrap();
            false
        }
    };
    if !is_over {
        signing_out.await.unwrap();
    }
    assert_eq!(place.pds.oauth_sessions(), 0);
    let next = place.process().await;
    assert!(!place.is_live(&next).await);
}

#[tokio::test]
async fn a_refresh_that_a_sign_out_elsewhere_overtakes_is_given_back() {
    let place = Place::new().await;
    let (one, other) = (place.process().await, place.process().await);
    place.sign_in(&one).await;
    place.clock.advance(TimeDelta::hours(2));
    // The refresh is made by hand: the other process signs out between the server's answer and the write.
    let stored = one.store.find(&place.alice).await.unwrap().unwrap();
    let now = place.clock.now();
    let until = now + TimeDelta::minutes(1);
    assert!(
        one.store
            .try_lease(&place.alice, stored.version, now, until)
            .await
            .unwrap()
    );
    let renewed = one.client.refresh(&stored.session).await.unwrap();
    other.sessions.end(&place.alice).await.unwrap();
    let replaced = one.store.replace(&renewed, stored.version).await.unwrap();
    assert_eq!(replaced, None, "what was ended does not come back");
}
