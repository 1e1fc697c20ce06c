//! Relays that are asked to follow the hold.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::harness::{Setup, TestHold};

/// A relay that writes down what it is asked, and answers with the status it was told.
#[derive(Clone, Default)]
struct Relay {
    asked: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<Mutex<bool>>,
    was_asked: Arc<Notify>,
}

impl Relay {
    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/xrpc/com.atproto.sync.requestCrawl", post(request_crawl))
            .route(
                "/xrpc/com.atproto.sync.getHostStatus",
                get(async || Json(json!({ "hostname": "x", "status": "active", "seq": 42 }))),
            )
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
