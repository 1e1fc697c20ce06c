//! Blobs on their way to clients.

use atcr_appview::edge::registry::blobs::BLOB_DELIVERY;
use atcr_auth::principal::Principal;
use atcr_registry::blob::ports::Place;
use atcr_registry::error::{BlobError, RegistryError};
use atcr_registry::hold::error::HoldError;
use atcr_test_support::fakes::{FakeHold, HeadAnswer, Spelling, StoreKind};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, LOCATION, RANGE, USER_AGENT};

use super::{ALICE, Ask, BlobSide, Limits, body, header, hold_ref, noise, principal, sha256};

fn path(digest: &str) -> String {
    format!("/v2/bob.test/app/blobs/{digest}")
}

#[tokio::test]
async fn a_pull_is_sent_to_the_store_of_the_hold() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let bytes = noise(3000);
    let digest = side.hold.put_blob(bytes.clone());
    let response = side.alice(Ask::get(&path(&digest))).await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers()["docker-content-digest"], digest.as_str());
    let url = header(&response, &LOCATION);
    assert_eq!(
        url,
        format!("{}/store/blobs/{digest}?sig=secret-GET", side.hold.url())
    );

    let response = side.alice(Ask::head(&path(&digest))).await.unwrap();
    assert_eq!(
        (response.status(), header(&response, &CONTENT_LENGTH)),
        (StatusCode::OK, "3000".to_owned())
    );
    assert_eq!(response.headers()["docker-content-digest"], digest.as_str());
    assert_eq!(
        *side.tokens.asked.lock().unwrap(),
        0,
        "a public hold needs no token"
    );

    // A second request a moment later makes no call to the hold.
    side.hold.forget_calls();
    side.alice(Ask::get(&path(&digest))).await.unwrap();
    side.alice(Ask::head(&path(&digest))).await.unwrap();
    assert_eq!(side.hold.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hold_that_redirects_a_head_is_followed_without_the_token() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob(noise(3000));
    side.hold.spell(Spelling {
        head: HeadAnswer::Redirect,
        ..Spelling::ours()
    });
    side.hold.set_private(true);
    let response = side.alice(Ask::head(&path(&digest))).await.unwrap();
    assert_eq!(header(&response, &CONTENT_LENGTH), "3000");
    assert_eq!(side.hold.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_blob_that_no_hold_has_is_unknown() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = sha256(b"nobody has this").to_string();
    for ask in [Ask::get(&path(&digest)), Ask::head(&path(&digest))] {
        let unknown = side.alice(ask).await;
        assert!(
            matches!(unknown, Err(RegistryError::Blob(BlobError::Unknown { .. }))),
            "{unknown:?}"
        );
    }
    side.directory.holds.lock().unwrap().clear();
    assert!(matches!(
        side.alice(Ask::get(&path(&digest))).await,
        Err(RegistryError::Blob(BlobError::Unknown { .. }))
    ));
}

#[tokio::test]
async fn a_private_hold_serves_its_crew_and_nobody_else() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    side.hold.set_private(true);
    side.hold.set_members(&[ALICE]);
    for method in [Ask::get, Ask::head] {
        assert!(side.alice(method(&path(&digest))).await.is_ok());
        let refused = side.send(super::BOB, method(&path(&digest))).await;
        assert!(
            matches!(
                refused,
                Err(RegistryError::Hold {
                    error: HoldError::Forbidden { .. },
                    ..
                })
            ),
            "{refused:?}"
        );
        let refused = side
            .send_with(Principal::Anonymous, None, method(&path(&digest)))
            .await;
        assert!(
            matches!(
                refused,
                Err(RegistryError::Hold {
                    error: HoldError::Unauthorized,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_one_reader_was_shown_is_not_shown_to_another() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    side.hold.set_private(true);
    side.alice(Ask::get(&path(&digest))).await.unwrap();
    side.alice(Ask::head(&path(&digest))).await.unwrap();
    for ask in [Ask::get(&path(&digest)), Ask::head(&path(&digest))] {
        let refused = side.send_with(Principal::Anonymous, None, ask).await;
        assert!(
            matches!(
                refused,
                Err(RegistryError::Hold {
                    error: HoldError::Unauthorized,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn holds_are_asked_in_order_and_the_gravest_refusal_is_the_answer() {
    let mut side = BlobSide::start(StoreKind::Streaming).await;
    let second = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let digest = second.put_blob("bytes");
    side.directory.holds.lock().unwrap().push(hold_ref(&second));
    let response = side.alice(Ask::get(&path(&digest))).await.unwrap();
    assert!(header(&response, &LOCATION).starts_with(&second.url()));
    assert_eq!(side.hold.calls(), ["getBlob method=GET"]);

    let missing = path(sha256(b"nobody has this").to_string().as_str());
    let dead = hold_ref(&side.hold);
    side.hold.stop().await;
    assert!(
        side.alice(Ask::head(&path(&digest))).await.is_ok(),
        "one hold that is down does not hide another"
    );
    let failed = side.alice(Ask::get(&missing)).await;
    assert!(
        matches!(&failed, Err(RegistryError::Hold { hold, error: HoldError::Unreachable { .. } }) if *hold == dead.did),
        "{failed:?}"
    );
    second.set_private(true);
    second.set_members(&["did:plc:somebody"]);
    let failed = side.alice(Ask::get(&missing)).await;
    assert!(
        matches!(
            failed,
            Err(RegistryError::Hold {
                error: HoldError::Forbidden { .. },
                ..
            })
        ),
        "{failed:?}"
    );
}

#[tokio::test]
async fn clients_that_cannot_follow_get_the_bytes_from_here() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let bytes = noise(600_000);
    let digest = side.hold.put_blob(bytes.clone());
    for (name, value) in [(BLOB_DELIVERY, "proxy"), (USER_AGENT, "old-client/1.2 (linux)")] {
        let response = side
            .alice(Ask::get(&path(&digest)).header(name.clone(), value))
            .await
            .unwrap();
        assert_eq!(
            (response.status(), header(&response, &CONTENT_LENGTH)),
            (StatusCode::OK, "600000".to_owned())
        );
        assert_eq!(response.headers()["docker-content-digest"], digest.as_str());
        assert!(body(response).await == bytes);

        // A part could not be checked against the digest, so the whole is sent.
        let part = Ask::get(&path(&digest))
            .header(name, value)
            .header(RANGE, "bytes=500-1499");
        let response = side.alice(part).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["accept-ranges"], "none");
        assert!(body(response).await == bytes);
    }
    let response = side
        .alice(Ask::get(&path(&digest)).header(USER_AGENT, "docker/27"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(side.hold.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn wrong_bytes_of_a_hold_never_arrive_whole() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = sha256(b"what was promised").to_string();
    side.hold.put_blob_as(&digest, "what was swapped in");
    let response = side
        .alice(Ask::get(&path(&digest)).header(BLOB_DELIVERY, "proxy"))
        .await
        .unwrap();
    assert!(
        axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_remembered_url_that_leads_nowhere_any_more_is_asked_for_again() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    side.alice(Ask::get(&path(&digest))).await.unwrap();
    side.hold.remove_blob(&digest);
    let gone = side
        .alice(Ask::get(&path(&digest)).header(BLOB_DELIVERY, "proxy"))
        .await;
    assert!(
        matches!(gone, Err(RegistryError::Blob(BlobError::Unknown { .. }))),
        "{gone:?}"
    );
}

#[tokio::test]
async fn a_blob_just_pushed_is_found_without_asking_the_hold() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let bytes = noise(100);
    side.put(&side.begin().await, &sha256(&bytes), bytes.clone())
        .await
        .unwrap();
    side.hold.forget_calls();
    let digest = sha256(&bytes);
    let hold = hold_ref(&side.hold);
    let presence: &dyn atcr_registry::blob::ports::BlobPresence = side.blobs.as_ref();
    let alice = ALICE.parse().unwrap();
    let place = |repository| Place {
        owner: &alice,
        repository,
    };
    assert_eq!(
        presence
            .find_blob(&principal(ALICE), &hold, place("app"), &digest)
            .await
            .unwrap(),
        Some(100)
    );
    assert_eq!(side.hold.calls(), Vec::<String>::new());
    assert_eq!(
        presence
            .find_blob(&principal(super::BOB), &hold, place("app"), &digest)
            .await
            .unwrap(),
        Some(100)
    );
    assert_eq!(side.hold.calls(), ["getBlob HEAD"]);
    // It may have been deleted from another repository.
    side.hold.forget_calls();
    assert_eq!(
        presence
            .find_blob(&principal(ALICE), &hold, place("other"), &digest)
            .await
            .unwrap(),
        Some(100)
    );
    assert_eq!(side.hold.calls(), ["getBlob HEAD"]);
}

#[tokio::test]
async fn nobody_gets_bytes_from_here_by_asking_without_a_sign_in() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    let ask = Ask::get(&path(&digest)).header(BLOB_DELIVERY, "proxy");
    let response = side.send_with(Principal::Anonymous, None, ask).await.unwrap();
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn only_some_blobs_go_through_here_at_once() {
    let limits = Limits {
        proxied: 1,
        ..Limits::default()
    };
    let side = BlobSide::start_with(StoreKind::Streaming, limits).await;
    let digest = side.hold.put_blob(noise(100_000));
    let ask = || Ask::get(&path(&digest)).header(BLOB_DELIVERY, "proxy");
    let first = side.alice(ask()).await.unwrap();
    let second = side.alice(ask()).await;
    assert!(
        matches!(second, Err(RegistryError::TooManyRequests { .. })),
        "{second:?}"
    );
    body(first).await;
    assert!(side.alice(ask()).await.is_ok());
}

#[tokio::test]
async fn one_account_has_a_quarter_of_the_places_for_blobs_that_go_through_here() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob(noise(100_000));
    let ask = || Ask::get(&path(&digest)).header(BLOB_DELIVERY, "proxy");
    let mut slow = Vec::new();
    for _ in 0..Limits::default().proxied / 4 {
        slow.push(side.alice(ask()).await.unwrap());
    }
    let refused = side.alice(ask()).await;
    assert!(
        matches!(refused, Err(RegistryError::TooManyRequests { .. })),
        "{refused:?}"
    );
    let other = side.send(super::BOB, ask()).await;
    assert!(other.is_ok(), "{other:?}");
    body(slow.pop().unwrap()).await;
    assert!(side.alice(ask()).await.is_ok());
}
