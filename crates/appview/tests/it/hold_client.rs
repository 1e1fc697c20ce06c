//! What the client of holds makes of their answers.

use std::time::Duration;

use atcr_appview::adapters::hold::{HoldClient, HoldTimeouts};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldGateway as _, HoldRef};
use axum::Router;
use axum::routing::any;
use http::StatusCode;
use http::header::RETRY_AFTER;
use secrecy::SecretString;
use tokio::net::TcpListener;

/// A hold that answers every method with `status` and `Retry-After: 7`.
async fn hold_that_answers(status: StatusCode) -> HoldRef {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(move || async move { (status, [(RETRY_AFTER, "7")]) }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    HoldRef {
        did: "did:web:hold.example".parse().unwrap(),
        endpoint: format!("http://{address}").parse().unwrap(),
    }
}

fn client() -> HoldClient {
    let egress = EgressClient::new(EgressPolicy::of_server(true)).unwrap();
    HoldClient::new(egress, HoldTimeouts::default())
}

#[tokio::test]
async fn a_hold_that_limits_us_says_for_how_long_whatever_it_was_asked() {
    let hold = hold_that_answers(StatusCode::TOO_MANY_REQUESTS).await;
    let (client, token) = (client(), SecretString::from("token"));
    let alice = "did:web:alice.example".parse().unwrap();
    for refused in [
        client.request_crew(&hold, &token).await.err(),
        client.find_captain(&hold).await.err(),
        client.find_quota(&hold, &alice).await.err(),
    ] {
        let seven = Duration::from_secs(7);
        assert!(
            matches!(&refused, Some(HoldError::Busy { retry_after }) if *retry_after == seven),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_hold_that_fails_is_told_from_one_that_does_not_know_a_method() {
    let token = SecretString::from("token");
    let failing = hold_that_answers(StatusCode::SERVICE_UNAVAILABLE).await;
    let refused = client().request_crew(&failing, &token).await;
    assert!(matches!(refused, Err(HoldError::Failed { .. })), "{refused:?}");
    for status in [StatusCode::NOT_IMPLEMENTED, StatusCode::NOT_FOUND] {
        let old = hold_that_answers(status).await;
        let refused = client().request_crew(&old, &token).await;
        assert!(matches!(refused, Err(HoldError::Refused { .. })), "{refused:?}");
    }
}
