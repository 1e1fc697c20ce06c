//! Uploads through the whole server: real connections, real tokens.

use bytes::Bytes;
use chrono::TimeDelta;
use http::Method;

use super::{MIB, noise, sha256};
use crate::harness::{Answer, Sailor, TestAppView};

const START: &str = "/v2/alice.test/app/blobs/uploads/";

async fn begin(alice: &Sailor<'_>) -> String {
    let begun = Answer::of(alice.request(Method::POST, START)).await;
    begun.assert_status(202);
    begun.header("location").to_owned()
}

#[tokio::test]
async fn token_expiry_mid_layer_does_not_fail_the_push() {
    let mut appview = TestAppView::start().await;
    let bytes = noise(2 * MIB);
    let (first, second) = (bytes.slice(..MIB), bytes.slice(MIB..));
    let digest = sha256(&bytes);
    let (location, token) = {
        let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
        let location = begin(&alice).await;
        Answer::of(alice.request(Method::PATCH, &location).body(first))
            .await
            .assert_status(202);
        (location, alice.token)
    };
    appview.clock.advance(TimeDelta::minutes(30));
    appview.restart().await;

    let alice = Sailor {
        appview: &appview,
        token,
    };
    let patched = Answer::of(alice.request(Method::PATCH, &location).body(second)).await;
    patched.assert_status(202);
    assert_eq!(patched.header("range"), format!("0-{}", 2 * MIB - 1));
    let done = Answer::of(alice.request(Method::PUT, &format!("{location}?digest={digest}"))).await;
    done.assert_status(201);
    assert_eq!(done.header("docker-content-digest"), digest.as_ref());
    assert!(
        appview
            .hold
            .blob(digest.as_ref())
            .is_some_and(|stored| stored == bytes)
    );
    // The session has ended, and with it what the old token was good for.
    Answer::of(alice.request(Method::GET, &location))
        .await
        .assert_error(404, "BLOB_UPLOAD_UNKNOWN");
    Answer::of(alice.request(Method::POST, START))
        .await
        .assert_error(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_connection_that_breaks_mid_chunk_leaves_no_half_part_and_the_client_goes_on() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
    let bytes = noise(3 * MIB);
    let location = begin(&alice).await;

    let (feed, body) = tokio::sync::mpsc::channel(1);
    let body = futures_util::stream::unfold(body, |mut body| async {
        body.recv()
            .await
            .map(|piece: std::io::Result<Bytes>| (piece, body))
    });
    let request = alice
        .request(Method::PATCH, &location)
        .body(reqwest::Body::wrap_stream(body));
    let pump = async {
        feed.send(Ok(bytes.slice(..MIB))).await.unwrap();
        appview.hold.called("part 1").await;
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        feed.send(Err(reset)).await.unwrap();
    };
    let (answered, ()) = tokio::join!(request.send(), pump);
    assert!(answered.is_err());
    appview.hold.called("part 1 broken").await;

    assert_eq!(
        Answer::of(alice.request(Method::GET, &location))
            .await
            .header("range"),
        "0-0"
    );
    // The server may still be putting the broken request away.
    let patched = loop {
        let patched = Answer::of(alice.request(Method::PATCH, &location).body(bytes.clone())).await;
        if patched.status != 409 {
            break patched;
        }
    };
    patched.assert_status(202);
    let digest = sha256(&bytes);
    Answer::of(alice.request(Method::PUT, &format!("{location}?digest={digest}")))
        .await
        .assert_status(201);
    assert!(
        appview
            .hold
            .blob(digest.as_ref())
            .is_some_and(|stored| stored == bytes)
    );
}

#[tokio::test]
async fn a_chunk_out_of_order_is_answered_with_where_to_go_on() {
    let appview = TestAppView::start().await;
    let alice = appview.sailor("alice.test", &["alice.test/app"]).await;
    let location = begin(&alice).await;
    let chunk = |range: &'static str| {
        let request = alice.request(Method::PATCH, &location);
        Answer::of(request.header("content-range", range).body(noise(1000)))
    };
    chunk("0-999").await.assert_status(202);
    let refused = chunk("2000-2999").await;
    refused.assert_error(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(
        (refused.header("range"), refused.header("location")),
        ("0-999", location.as_str())
    );
    Answer::of(alice.request(Method::DELETE, &location))
        .await
        .assert_status(204);
    Answer::of(alice.request(Method::GET, &location))
        .await
        .assert_error(404, "BLOB_UPLOAD_UNKNOWN");
}
