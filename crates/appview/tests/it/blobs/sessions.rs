//! The life of an upload session, in front of either kind of store: chunks, digests, the end.

use atcr_oci::{Algorithm, Digest};
use atcr_registry::error::{BlobError, RegistryError, UploadError};
use atcr_test_support::fakes::StoreKind;
use bytes::Bytes;
use http::StatusCode;
use http::header::{LOCATION, RANGE};

use super::{Ask, BlobSide, MIB, header, noise, sha256};

pub(super) const KINDS: [StoreKind; 2] = [StoreKind::Streaming, StoreKind::Parts { min: 5 * 1024 * 1024 }];

pub(super) const START: &str = "/v2/alice.test/app/blobs/uploads/";

#[tokio::test]
async fn a_small_blob_takes_three_calls_to_the_hold_whichever_way_it_comes() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let proof = if kind == StoreKind::Streaming {
            ""
        } else {
            " proof"
        };
        // What kind of store a hold has is learned with the first upload to it.
        side.put(
            &side.begin().await,
            &sha256(b"first"),
            Bytes::from_static(b"first"),
        )
        .await
        .unwrap();
        for way in ["patch", "put", "post"] {
            let bytes = noise(1000 + way.len());
            let digest = sha256(&bytes);
            side.hold.forget_calls();
            match way {
                "patch" => {
                    let location = side.begin().await;
                    assert_eq!(
                        side.patch(&location, bytes.clone()).await.unwrap(),
                        format!("0-{}", bytes.len() - 1)
                    );
                    side.put(&location, &digest, Bytes::new()).await.unwrap();
                }
                "put" => side
                    .put(&side.begin().await, &digest, bytes.clone())
                    .await
                    .unwrap(),
                _ => {
                    let ask = Ask::post(&format!("{START}?digest={digest}")).bytes(bytes.clone());
                    let response = side.alice(ask).await.unwrap();
                    assert_eq!(response.status(), StatusCode::CREATED);
                    assert_eq!(
                        header(&response, &LOCATION),
                        format!("/v2/alice.test/app/blobs/{digest}")
                    );
                }
            }
            let size = if way == "patch" {
                String::new()
            } else {
                format!(" size={}", bytes.len())
            };
            let expected = [
                format!("initiateUpload{size}"),
                "part 1".to_owned(),
                format!("part 1 stored {}", bytes.len()),
                format!("completeUpload{proof}"),
            ];
            assert_eq!(side.hold.calls(), expected, "{kind:?} by {way}");
            side.assert_stored(&digest, &bytes);
            assert!(side.spool_is_empty());
        }
    }
}

#[tokio::test]
async fn an_empty_blob_can_be_pushed_in_every_way() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let digest = sha256(b"");
        let location = side.begin().await;
        assert_eq!(side.patch(&location, Bytes::new()).await.unwrap(), "0-0");
        side.put(&location, &digest, Bytes::new()).await.unwrap();
        side.assert_stored(&digest, b"");

        side.hold.remove_blob(digest.as_ref());
        let ask = Ask::post(&format!("{START}?digest={digest}")).bytes(Bytes::new());
        assert_eq!(side.alice(ask).await.unwrap().status(), StatusCode::CREATED);
        side.assert_stored(&digest, b"");
    }
}

#[tokio::test]
async fn chunks_add_up_with_and_without_ranges_and_the_last_may_come_with_the_end() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(3000);
        let digest = sha256(&bytes);
        let location = side.begin().await;
        side.alice(Ask::patch(&location).range("0-999").bytes(bytes.slice(..1000)))
            .await
            .unwrap();
        assert_eq!(side.range(&location).await.unwrap(), "0-999");
        assert_eq!(
            side.patch(&location, bytes.slice(1000..2000)).await.unwrap(),
            "0-1999"
        );
        let end = Ask::put(&format!("{location}?digest={digest}"))
            .range("2000-2999")
            .bytes(bytes.slice(2000..));
        assert_eq!(side.alice(end).await.unwrap().status(), StatusCode::CREATED);
        side.assert_stored(&digest, &bytes);
        let gone = side.range(&location).await;
        assert!(matches!(
            gone,
            Err(RegistryError::Upload(UploadError::Unknown { .. }))
        ));
    }
}

#[tokio::test]
async fn a_chunk_out_of_order_is_refused_and_the_session_goes_on() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(3000);
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..1000)).await.unwrap();
        for (method, range) in [("PATCH", "2000-2999"), ("PATCH", "0-999"), ("PUT", "2000-2999")] {
            let ask = match method {
                "PATCH" => Ask::patch(&location),
                _ => Ask::put(&format!("{location}?digest={}", sha256(&bytes))),
            };
            let refused = side
                .alice(ask.range(range).bytes(bytes.slice(..1000)))
                .await
                .unwrap();
            assert_eq!(
                refused.status(),
                StatusCode::RANGE_NOT_SATISFIABLE,
                "{method} {range}"
            );
            assert_eq!(header(&refused, &RANGE), "0-999");
            assert_eq!(header(&refused, &LOCATION), location);
        }
        assert_eq!(side.range(&location).await.unwrap(), "0-999");
        side.finish(&location, &bytes, 1000).await;
    }
}

#[tokio::test]
async fn a_chunk_that_is_not_as_long_as_it_says_changes_nothing() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(1000);
        let location = side.begin().await;
        let refused = side
            .alice(Ask::patch(&location).range("0-1999").bytes(bytes.clone()))
            .await;
        assert!(matches!(
            refused,
            Err(RegistryError::Blob(BlobError::SizeInvalid { .. }))
        ));
        let (sender, ask) = Ask::patch(&location).range("0-1999").streamed();
        sender.try_send(Ok(bytes.clone())).unwrap();
        drop(sender);
        let refused = side.alice(ask).await;
        assert!(
            matches!(refused, Err(RegistryError::Blob(BlobError::SizeInvalid { .. }))),
            "{refused:?}"
        );
        assert_eq!(side.range(&location).await.unwrap(), "0-0");
        side.finish(&location, &bytes, 0).await;
    }
}

#[tokio::test]
async fn content_that_does_not_match_its_digest_is_discarded_everywhere() {
    for kind in KINDS {
        // A store that hashes is left to find it out.
        let is_told = |error: &RegistryError| match kind {
            StoreKind::Streaming => matches!(error, RegistryError::Blob(BlobError::DigestRefused { .. })),
            _ => matches!(error, RegistryError::Blob(BlobError::DigestMismatch { .. })),
        };
        let side = BlobSide::start(kind).await;
        let (bytes, other) = (noise(1000), sha256(b"something else"));
        let location = side.begin().await;
        side.patch(&location, bytes.clone()).await.unwrap();
        let refused = side.put(&location, &other, Bytes::new()).await;
        assert!(refused.as_ref().is_err_and(is_told), "{refused:?}");
        side.assert_gone(&location).await;

        let refused = side
            .alice(Ask::post(&format!("{START}?digest={other}")).bytes(bytes))
            .await;
        assert!(refused.as_ref().is_err_and(is_told), "{refused:?}");
        assert_eq!(
            (side.hold.open_uploads(), side.hold.blob(other.as_ref())),
            (0, None)
        );
        assert!(side.spool_is_empty());
    }
}

#[tokio::test]
async fn sha512_works_declared_or_not() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(9 * MIB);
        let digest = Digest::of(Algorithm::Sha512, &bytes);
        let response = side
            .alice(Ask::post(&format!("{START}?digest-algorithm=sha512")))
            .await
            .unwrap();
        let location = header(&response, &LOCATION);
        side.patch(&location, bytes.clone()).await.unwrap();
        side.put(&location, &digest, Bytes::new()).await.unwrap();
        side.assert_stored(&digest, &bytes);

        let small = noise(5000);
        let digest = Digest::of(Algorithm::Sha512, &small);
        let location = side.begin().await;
        side.patch(&location, small.clone()).await.unwrap();
        side.put(&location, &digest, Bytes::new()).await.unwrap();
        side.assert_stored(&digest, &small);

        // Too large for both digests and not declared: the hold is left to look for itself.
        side.hold
            .remove_blob(Digest::of(Algorithm::Sha512, &bytes).as_ref());
        side.hold.forget_calls();
        let digest = Digest::of(Algorithm::Sha512, &bytes);
        let location = side.begin().await;
        side.patch(&location, bytes.clone()).await.unwrap();
        side.put(&location, &digest, Bytes::new()).await.unwrap();
        assert_eq!(side.hold.calls().last().unwrap(), "completeUpload");
        side.assert_stored(&digest, &bytes);

        let location = side.begin().await;
        side.patch(&location, noise(9 * MIB - 1)).await.unwrap();
        let refused = side.put(&location, &digest, Bytes::new()).await;
        assert!(
            matches!(refused, Err(RegistryError::Blob(BlobError::DigestRefused { .. }))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_hold_that_looks_at_nothing_is_not_given_content_that_nobody_checked() {
    let side = BlobSide::start(StoreKind::Silent).await;
    let bytes = noise(9 * MIB);
    let location = side.begin().await;
    side.patch(&location, bytes.clone()).await.unwrap();
    let refused = side
        .put(&location, &Digest::of(Algorithm::Sha512, &bytes), Bytes::new())
        .await;
    assert!(
        matches!(refused, Err(RegistryError::Upload(UploadError::Invalid { .. }))),
        "{refused:?}"
    );
    // The bytes are all there, so it can still be finished under the digest that was computed.
    side.put(&location, &sha256(&bytes), Bytes::new()).await.unwrap();
    assert_eq!(
        side.hold.calls().last().unwrap(),
        "completeUpload",
        "proofs are for holds that know them"
    );
    side.assert_stored(&sha256(&bytes), &bytes);
}

#[tokio::test]
async fn a_repeated_end_after_a_lost_answer_finds_the_blob() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(5000);
        let location = side.begin().await;
        side.patch(&location, bytes.clone()).await.unwrap();
        // As if the process had been killed after the hold completed the upload and before it could say so.
        side.hold.put_blob(bytes.clone());
        side.hold.fail(atcr_test_support::fakes::Fault::UploadsForgotten);
        side.put(&location, &sha256(&bytes), Bytes::new()).await.unwrap();
        side.assert_gone(&location).await;
        assert!(side.spool_is_empty());
    }
}

#[tokio::test]
async fn an_end_with_bytes_can_be_repeated_as_well() {
    for kind in KINDS {
        let mut side = BlobSide::start(kind).await;
        let bytes = noise(5000);
        let digest = sha256(&bytes);
        let location = side.begin().await;
        side.put(&location, &digest, bytes.clone()).await.unwrap();
        // Its answer was lost; it comes once more, with its bytes or without.
        side.put(&location, &digest, bytes.clone()).await.unwrap();
        side.put(&location, &digest, Bytes::new()).await.unwrap();
        // No other account, and under no other name.
        let other = side.put(&location, &sha256(b"other"), Bytes::new()).await;
        assert!(
            matches!(other, Err(RegistryError::Upload(UploadError::Unknown { .. }))),
            "{other:?}"
        );

        // The process was killed after the hold completed the upload and before it could say so.
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..2000)).await.unwrap();
        side.hold.fail(atcr_test_support::fakes::Fault::UploadsForgotten);
        side.restart().await;
        side.put(&location, &digest, bytes.slice(2000..)).await.unwrap();
        assert!(side.spool_is_empty());
    }
}

#[tokio::test]
async fn a_blob_in_more_chunks_than_a_store_takes_parts_arrives() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let bytes = noise(700 * 40);
    let location = side.begin().await;
    for chunk in bytes.chunks(40) {
        side.patch(&location, Bytes::copy_from_slice(chunk))
            .await
            .unwrap();
    }
    side.put(&location, &sha256(&bytes), Bytes::new()).await.unwrap();
    assert_eq!(
        side.hold.blob(sha256(&bytes).as_ref()).as_deref(),
        Some(&bytes[..])
    );
    let calls = side.hold.calls();
    let parts = calls
        .iter()
        .filter(|call| call.starts_with("part ") && call.contains("stored"));
    assert_eq!(parts.count(), 301);
    assert!(side.spool_is_empty());
}
