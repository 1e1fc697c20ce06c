//! Blobs taken over from another repository.

use atcr_test_support::fakes::{FakeHold, StoreKind};
use http::StatusCode;
use http::header::LOCATION;

use super::{ALICE, Ask, BlobSide, claims, header, hold_ref, principal};

fn mount(digest: &str, from: &str) -> Ask {
    let from = if from.is_empty() {
        String::new()
    } else {
        format!("&from={from}")
    };
    Ask::post(&format!("/v2/alice.test/app/blobs/uploads/?mount={digest}{from}"))
}

async fn status(side: &BlobSide, ask: Ask) -> StatusCode {
    side.alice(ask).await.unwrap().status()
}

#[tokio::test]
async fn a_blob_of_the_same_hold_is_mounted_without_being_sent() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    for from in [
        "alice.test/other",
        "bob.test/app",
        "did-plc-bobbbbbbbbbbbbbbbbbbbbbb/app",
        "",
    ] {
        let response = side.alice(mount(&digest, from)).await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED, "from {from}");
        assert_eq!(
            header(&response, &LOCATION),
            format!("/v2/alice.test/app/blobs/{digest}")
        );
    }
    assert!(!side.hold.calls().iter().any(|call| call.contains("Upload")));
}

#[tokio::test]
async fn what_cannot_be_mounted_becomes_an_upload() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let missing = super::sha256(b"nobody has this").to_string();
    let there = side.hold.put_blob("bytes");
    assert_eq!(
        status(&side, mount(&missing, "alice.test/other")).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(status(&side, mount(&missing, "")).await, StatusCode::ACCEPTED);
    assert_eq!(
        status(&side, mount(&there, "nobody.test/app")).await,
        StatusCode::ACCEPTED
    );
    let response = side.alice(mount(&missing, "alice.test/other")).await.unwrap();
    assert!(header(&response, &LOCATION).starts_with("/v2/alice.test/app/blobs/uploads/"));
}

#[tokio::test]
async fn a_source_in_another_hold_is_no_source() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let other = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let digest = other.put_blob("bytes");
    side.hold.put_blob("bytes");
    side.directory
        .sources
        .lock()
        .unwrap()
        .insert("bob.test/app".to_owned(), vec![hold_ref(&other)]);
    assert_eq!(
        status(&side, mount(&digest, "bob.test/app")).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        status(&side, mount(&digest, "alice.test/other")).await,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_blob_that_the_caller_may_not_read_is_not_mounted() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    side.hold.set_private(true);
    side.hold.set_members(&["did:plc:somebody"]);
    assert_eq!(
        status(&side, mount(&digest, "alice.test/other")).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(status(&side, mount(&digest, "")).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_token_has_to_cover_the_source_unless_it_is_the_callers_own() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    let push: &[&str] = &["pull", "push"];
    for (from, access, expected) in [
        (
            "bob.test/app",
            vec![("alice.test/app", push)],
            StatusCode::ACCEPTED,
        ),
        (
            "bob.test/app",
            vec![("alice.test/app", push), ("bob.test/app", &["pull"])],
            StatusCode::CREATED,
        ),
        (
            "alice.test/other",
            vec![("alice.test/app", push)],
            StatusCode::CREATED,
        ),
    ] {
        let claims = claims(ALICE, &access);
        let response = side
            .send_with(principal(ALICE), Some(claims), mount(&digest, from))
            .await
            .unwrap();
        assert_eq!(response.status(), expected, "from {from}");
    }
}
