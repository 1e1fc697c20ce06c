//! Holds that answer as original ones do.

use atcr_auth::principal::Principal;
use atcr_registry::error::{BlobError, RegistryError};
use atcr_registry::hold::error::HoldError;
use atcr_test_support::fakes::{FakeHold, HeadAnswer, Spelling, StoreKind, UrlAnswer};
use http::header::{CONTENT_LENGTH, LOCATION};

use super::{ALICE, Ask, BOB, BlobSide, header, hold_ref, noise, sha256};

fn path(digest: &str) -> String {
    format!("/v2/bob.test/app/blobs/{digest}")
}

async fn spelled(spelling: Spelling) -> BlobSide {
    let side = BlobSide::start(StoreKind::Silent).await;
    side.hold.spell(spelling);
    side
}

#[tokio::test]
async fn the_length_of_a_blob_is_that_of_the_object_however_the_hold_says_it() {
    let heads = [
        HeadAnswer::Length,
        HeadAnswer::Json,
        HeadAnswer::Redirect,
        HeadAnswer::RedirectSignedForGet,
        HeadAnswer::GetOnly,
    ];
    for head in heads {
        for url in [UrlAnswer::Json, UrlAnswer::Redirect, UrlAnswer::Bytes] {
            let spelling = Spelling {
                head,
                url,
                signs_blindly: head != HeadAnswer::Length && url != UrlAnswer::Bytes,
                ..Spelling::ours()
            };
            let side = spelled(spelling).await;
            let digest = side.hold.put_blob(noise(3000));
            let response = side.alice(Ask::head(&path(&digest))).await.unwrap();
            assert_eq!(header(&response, &CONTENT_LENGTH), "3000", "{spelling:?}");
            let missing = path(sha256(b"nobody has this").as_ref());
            let missing = side.alice(Ask::head(&missing)).await;
            assert!(
                matches!(missing, Err(RegistryError::Blob(BlobError::Unknown { .. }))),
                "{spelling:?}: {missing:?}"
            );
            assert_eq!(side.hold.violations(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_hold_whose_head_says_nothing_is_not_asked_with_it_again() {
    let side = spelled(Spelling::original()).await;
    let digests = [1000, 2000].map(|len| side.hold.put_blob(noise(len)));
    for digest in &digests {
        side.alice(Ask::head(&path(digest))).await.unwrap();
    }
    let heads = side
        .hold
        .calls()
        .iter()
        .filter(|call| *call == "getBlob HEAD")
        .count();
    assert_eq!(heads, 1);
}

#[tokio::test]
async fn a_private_hold_that_forbids_strangers_serves_its_crew() {
    let side = spelled(Spelling::original()).await;
    let digest = side.hold.put_blob("bytes");
    side.hold.set_private(true);
    side.hold.set_members(&[ALICE]);
    for method in [Ask::get, Ask::head] {
        assert!(side.alice(method(&path(&digest))).await.is_ok());
        let refused = side.send(BOB, method(&path(&digest))).await;
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
        let anonymous = side
            .send_with(Principal::Anonymous, None, method(&path(&digest)))
            .await;
        assert!(
            matches!(
                anonymous,
                Err(RegistryError::Hold {
                    error: HoldError::Unauthorized,
                    ..
                })
            ),
            "{anonymous:?}"
        );
    }
}

#[tokio::test]
async fn a_url_of_a_hold_that_signs_blindly_is_no_sign_of_the_blob() {
    let side = spelled(Spelling::original()).await;
    let digest = sha256(b"nobody has this").to_string();
    let missing = side.alice(Ask::get(&path(&digest))).await;
    assert!(
        matches!(missing, Err(RegistryError::Blob(BlobError::Unknown { .. }))),
        "{missing:?}"
    );

    let second = FakeHold::start(StoreKind::Streaming).await.unwrap();
    let digest = second.put_blob("bytes");
    side.directory.holds.lock().unwrap().push(hold_ref(&second));
    let response = side.alice(Ask::get(&path(&digest))).await.unwrap();
    assert!(header(&response, &LOCATION).starts_with(&second.url()));
}

#[tokio::test]
async fn a_client_is_sent_nowhere_that_this_server_would_not_go() {
    for elsewhere in [
        "ftp://store.example/blob",
        "javascript:alert(1)",
        "https://user:secret@store.example/blob",
        "https://[no host",
    ] {
        for url in [UrlAnswer::Json, UrlAnswer::Redirect] {
            let side = spelled(Spelling {
                head: HeadAnswer::Redirect,
                url,
                elsewhere: Some(elsewhere),
                ..Spelling::ours()
            })
            .await;
            let digest = side.hold.put_blob("bytes");
            for method in [Ask::get, Ask::head] {
                let refused = side.alice(method(&path(&digest))).await;
                assert!(
                    matches!(
                        refused,
                        Err(RegistryError::Hold {
                            error: HoldError::Malformed { .. },
                            ..
                        })
                    ),
                    "{elsewhere}: {refused:?}"
                );
            }
        }
    }
}
