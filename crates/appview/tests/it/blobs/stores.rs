//! What a hold or its store can do to an upload.

use std::sync::{Arc, Mutex};

use atcr_registry::error::{RegistryError, UploadError};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::HoldRef;
use atcr_test_support::fakes::{Fault, StoreKind};
use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use tokio::net::TcpListener;

use super::{ALICE, Ask, BlobSide, MIB, noise, sha256};

const PARTS: StoreKind = StoreKind::Parts { min: 5 * 1024 * 1024 };

#[tokio::test]
async fn a_large_blob_goes_in_parts_of_known_length_whatever_the_chunks_are() {
    for chunk in [7 * MIB, 16 * MIB, 50 * MIB] {
        let side = BlobSide::start(PARTS).await;
        let bytes = noise(50 * MIB);
        let location = side.begin().await;
        for start in (0..bytes.len()).step_by(chunk) {
            side.patch(&location, bytes.slice(start..bytes.len().min(start + chunk)))
                .await
                .unwrap();
        }
        side.put(&location, &sha256(&bytes), Bytes::new()).await.unwrap();
        let sizes: Vec<String> = side
            .hold
            .calls()
            .into_iter()
            .filter(|call| call.contains("stored"))
            .collect();
        for (number, size) in [(1, 16), (2, 16), (3, 16), (4, 2)] {
            assert!(
                sizes.contains(&format!("part {number} stored {}", size * MIB)),
                "{sizes:?}"
            );
        }
        assert_eq!(sizes.len(), 4);
        side.assert_stored(&sha256(&bytes), &bytes);
        assert!(side.spool_is_empty());
    }
}

#[tokio::test]
async fn a_streaming_store_gets_every_chunk_as_one_part_without_a_spool() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let bytes = noise(20 * MIB);
    let location = side.begin().await;
    side.patch(&location, bytes.slice(..18 * MIB)).await.unwrap();
    assert!(side.spool_is_empty());
    side.put(&location, &sha256(&bytes), bytes.slice(18 * MIB..))
        .await
        .unwrap();
    let stored: Vec<String> = side
        .hold
        .calls()
        .into_iter()
        .filter(|call| call.contains("stored"))
        .collect();
    assert_eq!(
        stored,
        [
            format!("part 1 stored {}", 18 * MIB),
            format!("part 2 stored {}", 2 * MIB)
        ]
    );
    side.assert_stored(&sha256(&bytes), &bytes);
}

#[tokio::test]
async fn a_part_that_fails_is_sent_again_to_a_fresh_url() {
    let side = BlobSide::start(PARTS).await;
    let bytes = noise(40 * MIB);
    side.hold.fail(Fault::PartStatus {
        number: 1,
        status: 500,
    });
    side.hold.fail(Fault::PartBreaks { number: 2 });
    side.hold.fail(Fault::PartStatus {
        number: 3,
        status: 403,
    });
    let location = side.begin().await;
    side.patch(&location, bytes.clone()).await.unwrap();
    side.put(&location, &sha256(&bytes), Bytes::new()).await.unwrap();
    let calls = side.hold.calls();
    let urls = |number| {
        calls
            .iter()
            .filter(|call| **call == format!("getPartUploadUrl {number}"))
            .count()
    };
    assert_eq!((urls(1), urls(2), urls(3)), (1, 2, 2), "{calls:?}");
    side.assert_stored(&sha256(&bytes), &bytes);
}

#[tokio::test]
async fn a_part_that_keeps_failing_fails_the_request_and_nothing_else() {
    let side = BlobSide::start(PARTS).await;
    let bytes = noise(20 * MIB);
    for _ in 0..3 {
        side.hold.fail(Fault::PartStatus {
            number: 1,
            status: 503,
        });
    }
    let location = side.begin().await;
    let failed = side.patch(&location, bytes.clone()).await;
    assert!(
        matches!(
            failed,
            Err(RegistryError::Hold {
                error: HoldError::Failed { .. },
                ..
            })
        ),
        "{failed:?}"
    );
    assert_eq!(side.range(&location).await.unwrap(), "0-0");
    side.patch(&location, bytes.clone()).await.unwrap();
    side.finish(&location, &bytes, bytes.len()).await;
}

#[tokio::test]
async fn a_streamed_part_that_fails_can_be_sent_again_by_the_client() {
    for fault in [
        Fault::PartStatus {
            number: 2,
            status: 500,
        },
        Fault::PartBreaks { number: 2 },
    ] {
        let side = BlobSide::start(StoreKind::Streaming).await;
        let bytes = noise(4 * MIB);
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..1000)).await.unwrap();
        side.hold.fail(fault);
        let failed = side.patch(&location, bytes.slice(1000..)).await;
        let hold = side.hold.did();
        assert!(
            matches!(&failed, Err(RegistryError::Hold { hold: named, error: HoldError::Failed { .. } | HoldError::Unreachable { .. } }) if named.as_str() == hold),
            "{failed:?}"
        );
        assert_eq!(side.range(&location).await.unwrap(), "0-999");
        side.finish(&location, &bytes, 1000).await;
    }
}

#[tokio::test]
async fn a_hold_that_dies_in_the_middle_is_named_and_the_upload_goes_on_when_it_is_back() {
    for kind in [StoreKind::Streaming, PARTS] {
        let mut side = BlobSide::start(kind).await;
        let bytes = noise(40 * MIB);
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..17 * MIB)).await.unwrap();
        side.hold.stop().await;
        let failed = side.patch(&location, bytes.slice(17 * MIB..)).await;
        let hold = side.hold.did();
        assert!(
            matches!(&failed, Err(RegistryError::Hold { hold: named, error: HoldError::Unreachable { .. } }) if named.as_str() == hold),
            "{failed:?}"
        );
        side.hold.resume().await.unwrap();
        side.patch(&location, bytes.slice(17 * MIB..)).await.unwrap();
        side.finish(&location, &bytes, bytes.len()).await;
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_completion_is_asked_for_again() {
    for kind in [StoreKind::Streaming, PARTS] {
        for fault in [Fault::CompletionLost, Fault::CompletionStatus(500)] {
            let side = BlobSide::start(kind).await;
            let bytes = noise(5000);
            side.hold.fail(fault);
            side.put(&side.begin().await, &sha256(&bytes), bytes.clone())
                .await
                .unwrap();
            let completions = side
                .hold
                .calls()
                .iter()
                .filter(|call| call.starts_with("completeUpload"))
                .count();
            assert_eq!(completions, 2);
            side.assert_stored(&sha256(&bytes), &bytes);
        }
    }
}

#[tokio::test]
async fn a_completion_that_fails_leaves_the_session_to_be_finished_later() {
    for kind in [StoreKind::Streaming, PARTS] {
        let side = BlobSide::start(kind).await;
        let bytes = noise(5000);
        side.hold.fail(Fault::CompletionStatus(500));
        side.hold.fail(Fault::CompletionStatus(500));
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..4000)).await.unwrap();
        let failed = side.put(&location, &sha256(&bytes), bytes.slice(4000..)).await;
        assert!(
            matches!(
                failed,
                Err(RegistryError::Hold {
                    error: HoldError::Failed { .. },
                    ..
                })
            ),
            "{failed:?}"
        );
        assert_eq!(side.range(&location).await.unwrap(), "0-3999");
        side.finish(&location, &bytes, 4000).await;
    }
}

#[tokio::test]
async fn an_upload_that_the_hold_forgot_has_to_be_started_again() {
    for kind in [StoreKind::Streaming, PARTS] {
        let side = BlobSide::start(kind).await;
        let location = side.begin().await;
        side.patch(&location, noise(17 * MIB)).await.unwrap();
        side.hold.fail(Fault::UploadsForgotten);
        let unknown = side.patch(&location, noise(17 * MIB)).await;
        assert!(
            matches!(unknown, Err(RegistryError::Upload(UploadError::Unknown { .. }))),
            "{unknown:?}"
        );
        side.assert_gone(&location).await;
        assert!(side.spool_is_empty());
    }
}

#[tokio::test]
async fn a_service_token_that_is_refused_is_replaced_once() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let bytes = noise(100);
    side.hold.refuse_token(&side.tokens.current(ALICE));
    side.finish(&side.begin().await, &bytes, 0).await;

    let (now, next) = (side.tokens.current(ALICE), format!("{ALICE}#2"));
    side.hold.refuse_token(&now);
    side.hold.refuse_token(&next);
    let refused = side.put(&side.begin().await, &sha256(&bytes), bytes).await;
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

#[tokio::test]
async fn a_user_without_the_right_to_write_is_told_so() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    side.hold.set_members(&["did:plc:somebody"]);
    let refused = side
        .put(&side.begin().await, &sha256(b"x"), Bytes::from_static(b"x"))
        .await;
    assert!(
        matches!(&refused, Err(RegistryError::Hold { error: HoldError::Forbidden { message }, .. }) if message.contains("crew")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_hold_may_change_its_store_between_two_uploads() {
    let side = BlobSide::start(PARTS).await;
    let bytes = noise(40 * MIB);
    side.put(&side.begin().await, &sha256(b"warm"), Bytes::from_static(b"warm"))
        .await
        .unwrap();
    for kind in [StoreKind::Streaming, PARTS, StoreKind::Silent] {
        side.hold.set_kind(kind);
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..20 * MIB)).await.unwrap();
        side.patch(&location, bytes.slice(20 * MIB..)).await.unwrap();
        side.finish(&location, &bytes, bytes.len()).await;
        side.hold.remove_blob(sha256(&bytes).as_ref());
    }
}

#[tokio::test]
async fn sixteen_pushes_at_once_do_not_mix() {
    for kind in [StoreKind::Streaming, PARTS] {
        let side = BlobSide::start(kind).await;
        let pushes = (0..16).map(|n| {
            let side = &side;
            async move {
                let bytes = noise(6 * MIB + n);
                let location = side.begin().await;
                side.patch(&location, bytes.clone()).await.unwrap();
                side.put(&location, &sha256(&bytes), Bytes::new()).await.unwrap();
                bytes
            }
        });
        for bytes in futures_util::future::join_all(pushes).await {
            assert!(
                side.hold
                    .blob(sha256(&bytes).as_ref())
                    .is_some_and(|stored| stored == bytes)
            );
        }
        assert_eq!(side.hold.open_uploads(), 0);
    }
}

#[tokio::test]
async fn a_hold_that_cannot_delete_single_blobs_is_said_to_be_one() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let digest = side.hold.put_blob("bytes");
    let refused = side
        .alice(Ask::delete(&format!("/v2/alice.test/app/blobs/{digest}")))
        .await;
    assert!(
        matches!(refused, Err(RegistryError::Unsupported { .. })),
        "{refused:?}"
    );
    assert_eq!(
        side.alice(Ask::head(&format!("/v2/alice.test/app/blobs/{digest}")))
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_blob_is_deleted_from_every_hold_that_is_known_to_have_it() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut holds = Vec::new();
    for name in ["first", "second"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::clone(&asked);
        let router = Router::new().fallback(any(move |method: Method, uri: Uri| async move {
            asked.lock().unwrap().push(format!("{method} {}", uri.path()));
            StatusCode::OK
        }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        holds.push(HoldRef {
            did: format!("did:web:{name}.example").parse().unwrap(),
            // Below a path, behind a server that has others.
            endpoint: format!("http://{address}/{name}/").parse().unwrap(),
        });
    }
    *side.directory.holds.lock().unwrap() = holds;
    let digest = sha256(b"bytes");
    let deleted = side
        .alice(Ask::delete(&format!("/v2/alice.test/app/blobs/{digest}")))
        .await;
    assert_eq!(deleted.unwrap().status(), StatusCode::ACCEPTED);
    let expected = ["first", "second"].map(|name| format!("DELETE /{name}/repository-blobs/{digest}"));
    assert_eq!(*asked.lock().unwrap(), expected);
}
