//! Whose an upload session is, for how long, and who may write to it.

use atcr_registry::error::{AccessError, RegistryError, UploadError};
use atcr_registry::upload::Swept;
use atcr_test_support::fakes::StoreKind;
use chrono::TimeDelta;
use http::StatusCode;

use super::sessions::{KINDS, START};
use super::{ALICE, Ask, BOB, BlobSide, MIB, noise};

#[tokio::test]
async fn two_requests_cannot_write_to_one_session_and_do_not_wait_for_each_other() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(2000);
        let location = side.begin().await;
        let (sender, ask) = Ask::patch(&location).streamed();
        let second = async {
            // Taken from the channel by the first request, which so has the session.
            sender.send(Ok(bytes.slice(..500))).await.unwrap();
            sender.send(Ok(bytes.slice(500..1000))).await.unwrap();
            sender.reserve().await.unwrap();
            let busy = side.patch(&location, bytes.slice(..1000)).await;
            assert!(
                matches!(busy, Err(RegistryError::Upload(UploadError::Busy))),
                "{busy:?}"
            );
            let busy = side.alice(Ask::delete(&location)).await;
            assert!(
                matches!(busy, Err(RegistryError::Upload(UploadError::Busy))),
                "{busy:?}"
            );
            assert_eq!(side.range(&location).await.unwrap(), "0-0");
            drop(sender);
        };
        let (first, ()) = tokio::join!(side.alice(ask), second);
        assert_eq!(first.unwrap().status(), StatusCode::ACCEPTED);
        side.finish(&location, &bytes, 1000).await;
    }
}

#[tokio::test]
async fn a_session_is_of_its_user_and_its_repository_only() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let location = side.begin().await;
    let elsewhere = location.replace("alice.test/app", "alice.test/other");
    let strange = location.replace("alice.test", "bob.test");
    for (caller, target) in [(ALICE, &elsewhere), (BOB, &strange)] {
        for ask in [
            Ask::get(target),
            Ask::patch(target).bytes(noise(10)),
            Ask::delete(target),
        ] {
            let refused = side.send(caller, ask).await;
            assert!(
                matches!(refused, Err(RegistryError::Upload(UploadError::Unknown { .. }))),
                "{refused:?}"
            );
        }
    }
    let refused = side.send(BOB, Ask::patch(&location).bytes(noise(10))).await;
    assert!(
        matches!(refused, Err(RegistryError::Access(AccessError::Denied { .. }))),
        "{refused:?}"
    );
    assert_eq!(side.range(&location).await.unwrap(), "0-0");
}

#[tokio::test]
async fn a_cancelled_session_is_gone_here_and_at_the_hold() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let location = side.begin().await;
        side.patch(&location, noise(17 * MIB)).await.unwrap();
        assert_eq!(side.hold.open_uploads(), 1);
        let response = side.alice(Ask::delete(&location)).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(side.hold.open_uploads(), 0);
        side.assert_gone(&location).await;
        assert!(side.spool_is_empty());
    }
}

#[tokio::test]
async fn sessions_expire_a_day_after_their_last_byte_and_are_swept() {
    for kind in KINDS {
        let mut side = BlobSide::start(kind).await;
        let (kept, left) = (side.begin().await, side.begin().await);
        side.patch(&kept, noise(100)).await.unwrap();
        side.patch(&left, noise(17 * MIB)).await.unwrap();
        side.clock.advance(TimeDelta::hours(20));
        side.patch(&kept, noise(100)).await.unwrap();
        side.clock.advance(TimeDelta::hours(5));
        assert!(matches!(
            side.range(&left).await,
            Err(RegistryError::Upload(UploadError::Unknown { .. }))
        ));
        assert_eq!(side.range(&kept).await.unwrap(), "0-199");

        // What a killed process leaves in the spool belongs to no session.
        let orphan = atcr_oci::UploadSessionId::random();
        std::fs::create_dir(side.data.path().join("spool").join(orphan.as_str())).unwrap();
        side.restart().await;
        assert_eq!(
            side.uploads.sweep().await.unwrap(),
            Swept {
                expired: 1,
                orphans: 1
            }
        );
        assert_eq!(side.uploads.sweep().await.unwrap(), Swept::default());
        assert_eq!(side.hold.open_uploads(), 1, "{kind:?}");
        assert_eq!(side.range(&kept).await.unwrap(), "0-199");
    }
}

#[tokio::test]
async fn the_anonymous_caller_cannot_start_an_upload() {
    let side = BlobSide::start(StoreKind::Streaming).await;
    let refused = side
        .send_with(atcr_auth::principal::Principal::Anonymous, None, Ask::post(START))
        .await;
    assert!(
        matches!(
            refused,
            Err(RegistryError::Access(
                AccessError::NotCovered | AccessError::SignInRequired
            ))
        ),
        "{refused:?}"
    );
}
