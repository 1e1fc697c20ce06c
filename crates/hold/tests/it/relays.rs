//! Relays that are asked to follow the hold.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use atcr_atproto::clock::{Clock as _, ManualClock, SystemClock};
use atcr_atproto::syntax::{Did, Tid};
use atcr_hold::relays::seen::{Reason, seen_by_relays};
use atcr_hold::relays::{HostStatus, RelayApi, RelayError};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Notify};
use url::Url;

use crate::harness::{Setup, TestHold};

/// A relay that writes down what it is asked, and answers with what it was told.
#[derive(Clone, Default)]
pub(crate) struct Relay {
    asked: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<Mutex<bool>>,
    was_asked: Arc<Notify>,
    /// What it has of every host: its newest event, and its newest revision.
    pub(crate) has: Arc<Mutex<(i64, Option<Tid>)>>,
}

impl Relay {
    pub(crate) async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/xrpc/com.atproto.sync.requestCrawl", post(request_crawl))
            .route("/xrpc/com.atproto.sync.getHostStatus", get(host_status))
            .route("/xrpc/com.atproto.sync.getLatestCommit", get(latest_commit))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// Waits until it was asked so many times.
    async fn asked(&self, times: usize) {
        loop {
            let notified = self.was_asked.notified();
            if self.asked.lock().expect("a lock").len() >= times {
                return;
            }
            notified.await;
        }
    }
}

async fn host_status(State(relay): State<Relay>) -> Json<Value> {
    let seq = relay.has.lock().expect("a lock").0;
    Json(json!({ "hostname": "x", "status": "active", "seq": seq }))
}

async fn latest_commit(State(relay): State<Relay>) -> (StatusCode, Json<Value>) {
    match &relay.has.lock().expect("a lock").1 {
        Some(rev) => (StatusCode::OK, Json(json!({ "cid": "x", "rev": rev }))),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({ "error": "RepoNotFound", "message": "no such repository" })),
        ),
    }
}

async fn request_crawl(State(relay): State<Relay>, Json(input): Json<Value>) -> (StatusCode, Json<Value>) {
    relay.asked.lock().expect("a lock").push(input);
    relay.was_asked.notify_waiters();
    if *relay.refuses.lock().expect("a lock") {
        let refusal = json!({ "error": "HostBanned", "message": "no such host here" });
        (StatusCode::BAD_REQUEST, Json(refusal))
    } else {
        (StatusCode::OK, Json(json!({})))
    }
}

/// The state of the only relay, once it says that the last request was accepted, or not.
async fn state(hold: &TestHold, accepted: bool, failures: u32) -> Value {
    loop {
        let states = hold.hold.announcements().states();
        let state = states.values().next().expect("a relay");
        if state.accepted == accepted && state.failures == failures {
            return json!(state);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_relay_is_asked_at_the_start_and_until_it_agrees() {
    let relay = Relay::default();
    *relay.refuses.lock().expect("a lock") = true;
    let url = relay.serve().await;
    let hold = TestHold::start_with(Setup::default(), |config| {
        config.server.relay_endpoint = format!("{url}, https://relay.example.com");
    })
    .await;
    // The relay on the internet could not reach this hold, and is not asked.
    assert_eq!(hold.settings.relays.len(), 1);
    relay.asked(1).await;
    let hostname = hold.settings.listen.to_string();
    assert_eq!(
        *relay.asked.lock().expect("a lock"),
        [json!({ "hostname": hostname })]
    );
    let refused = state(&hold, false, 1).await;
    assert_eq!(refused["error"], "the relay answered 400: no such host here");
    assert!(refused["nextTry"].is_string(), "{refused}");

    // A new occasion is a reason to ask at once.
    *relay.refuses.lock().expect("a lock") = false;
    hold.hold.announcements().announce();
    relay.asked(2).await;
    let accepted = state(&hold, true, 0).await;
    assert!(
        accepted["acceptedAt"].is_string() && accepted["error"].is_null(),
        "{accepted}"
    );
    hold.hold.announcements().announce();
    relay.asked(3).await;
    hold.stop().await;
}

fn from_now(hours: i64) -> i64 {
    (SystemClock.now() + chrono::TimeDelta::hours(hours)).timestamp_micros()
}

#[tokio::test]
async fn a_new_hold_goes_on_from_what_a_relay_has_of_its_host() {
    for (hours, is_believed) in [(3, true), (24 * 40, false)] {
        let relay = Relay::default();
        let seen = from_now(hours);
        let rev = Tid::from_parts(u64::try_from(from_now(0) + 60_000_000).expect("positive"), 7);
        *relay.has.lock().expect("a lock") = (seen, Some(rev.clone()));
        let url = relay.serve().await;
        let hold = TestHold::start_with(Setup::default(), |config| config.server.relay_endpoint = url).await;
        let repo = hold.hold.repo();
        let first = repo.events_after(0, 1).await.expect("readable")[0].seq;
        let seen = u64::try_from(seen).expect("positive");
        assert_eq!(first > seen + 3_600_000_000, is_believed, "{first} after {seen}");
        assert_eq!(repo.latest_commit().rev > rev, is_believed);
        // Nothing is skipped at later starts.
        let newest = *repo.watch_seq().borrow();
        let hold = hold.restart(|_| ()).await;
        assert_eq!(*hold.hold.repo().watch_seq().borrow(), newest);
        hold.stop().await;
    }
}

#[tokio::test]
async fn a_new_hold_does_not_believe_a_relay_that_claims_a_revision_of_the_future() {
    let relay = Relay::default();
    let rev = Tid::from_parts(u64::try_from(from_now(1)).expect("positive"), 7);
    *relay.has.lock().expect("a lock") = (from_now(3), Some(rev.clone()));
    let url = relay.serve().await;
    let hold = TestHold::start_with(Setup::default(), |config| config.server.relay_endpoint = url).await;
    let repo = hold.hold.repo();
    assert!(repo.latest_commit().rev < rev);
    let first = repo.events_after(0, 1).await.expect("readable")[0].seq;
    assert!(
        i64::try_from(first).expect("a number") > from_now(4) - 60_000_000,
        "its numbers are gone beyond all the same"
    );
    hold.stop().await;
}

/// Answers when all have been asked.
#[derive(Debug)]
struct Together(Barrier);

#[async_trait]
impl RelayApi for Together {
    async fn request_crawl(&self, _: &Url, _: &str) -> Result<(), RelayError> {
        Ok(())
    }

    async fn host_status(&self, _: &Url, _: &str) -> Result<HostStatus, RelayError> {
        self.0.wait().await;
        Ok(serde_json::from_value(json!({ "seq": 7 })).expect("a status"))
    }

    async fn latest_commit(&self, _: &Url, _: &Did) -> Result<Tid, RelayError> {
        Err(RelayError::Refused {
            status: 404,
            message: String::new(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn relays_are_asked_at_the_same_time() {
    let relays: Vec<Url> = (0..3)
        .map(|number| format!("https://relay{number}.test").parse().expect("a URL"))
        .collect();
    let did = "did:web:hold.test".parse().expect("a DID");
    let api = Together(Barrier::new(relays.len()));
    let found = seen_by_relays(&api, &relays, "hold.test", &did, &SystemClock).await;
    assert!(found.unknown.is_empty(), "{:?}", found.unknown);
    assert_eq!(found.seen.seq, 7);
}

/// Says that its newest revision is so far ahead.
#[derive(Debug)]
struct Ahead(Arc<ManualClock>, TimeDelta);

#[async_trait]
impl RelayApi for Ahead {
    async fn request_crawl(&self, _: &Url, _: &str) -> Result<(), RelayError> {
        Ok(())
    }

    async fn host_status(&self, _: &Url, _: &str) -> Result<HostStatus, RelayError> {
        Ok(serde_json::from_value(json!({ "seq": 7 })).expect("a status"))
    }

    async fn latest_commit(&self, _: &Url, _: &Did) -> Result<Tid, RelayError> {
        let at = (self.0.now() + self.1).timestamp_micros();
        Ok(Tid::from_parts(u64::try_from(at).expect("positive"), 7))
    }
}

#[tokio::test]
async fn a_revision_that_is_slightly_ahead_is_waited_for() {
    let clock = ManualClock::standing();
    let relays: [Url; 1] = ["https://relay.test".parse().expect("a URL")];
    let did = "did:web:hold.test".parse().expect("a DID");
    for (seconds, expected) in [
        (110, None),
        (180, Some(Some(60))),
        (300, Some(Some(180))),
        (301, Some(None)),
    ] {
        let api = Ahead(clock.clone(), TimeDelta::seconds(seconds));
        let found = seen_by_relays(&api, &relays, "hold.test", &did, &*clock).await;
        let wait = found.unknown.first().map(|unknown| match &unknown.reason {
            Reason::RevisionAhead { wait, .. } => wait.map(|wait| wait.as_secs()),
            reason => panic!("{reason:?}"),
        });
        assert_eq!(wait, expected, "{seconds}");
        assert_eq!(found.seen.seq, 7);
        assert_eq!(found.seen.rev.is_some(), expected.is_none());
    }
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_before_the_first_event_asks_the_relays_again() {
    let relay = Relay::default();
    let url = relay.serve().await;
    let hold = TestHold::start_with(Setup::default(), |config| config.server.relay_endpoint = url).await;
    let stopped = hold.stop_to_restart().await;
    // The files are there, and nothing is in them yet.
    let repo = stopped.data_dir().join("repo");
    let segment = repo.join("0000000001.seg");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[512..].fill(0);
    std::fs::write(&segment, bytes).expect("written");
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = std::fs::remove_file(repo.join(name));
    }
    std::fs::write(stopped.data_dir().join("first-start"), "").expect("written");
    let seen = from_now(3);
    relay.has.lock().expect("a lock").0 = seen;
    let hold = stopped.start(|_| ()).await.expect("it starts");
    let first = hold.hold.repo().events_after(0, 1).await.expect("readable")[0].seq;
    let seen = u64::try_from(seen).expect("positive");
    assert!(first > seen + 3_600_000_000, "{first} after {seen}");
    hold.stop().await;
}
