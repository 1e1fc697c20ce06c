//! Upload sessions that a restart, a lost client or lost bytes interrupt.

use std::time::Duration;

use atcr_registry::error::{RegistryError, UploadError};
use atcr_registry::upload::Swept;
use atcr_test_support::fakes::StoreKind;

use super::sessions::KINDS;
use super::{Ask, BlobSide, MIB, noise};

#[tokio::test]
async fn a_session_goes_on_after_a_restart() {
    for kind in KINDS {
        let mut side = BlobSide::start(kind).await;
        let bytes = noise(40 * MIB);
        let location = side.begin().await;
        side.restart().await;
        side.patch(&location, bytes.slice(..7 * MIB)).await.unwrap();
        side.restart().await;
        side.patch(&location, bytes.slice(7 * MIB..25 * MIB))
            .await
            .unwrap();
        assert_eq!(side.uploads.sweep().await.unwrap(), Swept::default());
        side.restart().await;
        assert_eq!(
            side.range(&location).await.unwrap(),
            format!("0-{}", 25 * MIB - 1)
        );
        side.finish(&location, &bytes, 25 * MIB).await;
        assert!(side.spool_is_empty());
    }
}

#[tokio::test]
async fn spooled_bytes_that_did_not_survive_a_restart_end_the_session() {
    let mut side = BlobSide::start(StoreKind::Parts { min: 5 * 1024 * 1024 }).await;
    for damage in ["shorter", "other"] {
        let location = side.begin().await;
        side.patch(&location, noise(MIB)).await.unwrap();
        let session = std::fs::read_dir(side.data.path().join("spool"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let part = session.path().join("1");
        match damage {
            "shorter" => std::fs::write(part, &noise(MIB)[..1000]).unwrap(),
            _ => std::fs::write(part, vec![0; MIB]).unwrap(),
        }
        side.restart().await;
        let ended = side.patch(&location, noise(10)).await;
        assert!(
            matches!(ended, Err(RegistryError::Upload(UploadError::Unknown { .. }))),
            "{damage}"
        );
        side.assert_gone(&location).await;
        assert!(side.spool_is_empty());
        assert_eq!(side.hold.open_uploads(), 0);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_mid_chunk_leaves_the_session_where_it_was() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(40 * MIB);
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..1000)).await.unwrap();

        let (sender, ask) = Ask::patch(&location).streamed();
        let send = async {
            sender.send(Ok(bytes.slice(1000..20 * MIB))).await.unwrap();
            sender
                .send(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
                .await
                .unwrap();
        };
        let (interrupted, ()) = tokio::join!(side.alice(ask), send);
        assert!(
            matches!(interrupted, Err(RegistryError::BodyInterrupted { .. })),
            "{interrupted:?}"
        );

        assert_eq!(side.range(&location).await.unwrap(), "0-999");
        side.finish(&location, &bytes, 1000).await;
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_leaves_the_session_where_it_was_and_no_half_part() {
    for kind in KINDS {
        let side = BlobSide::start(kind).await;
        let bytes = noise(40 * MIB);
        let location = side.begin().await;
        side.patch(&location, bytes.slice(..1000)).await.unwrap();
        let part = if kind == StoreKind::Streaming {
            "part 2"
        } else {
            "part 1"
        };
        {
            let (sender, ask) = Ask::patch(&location).streamed();
            let request = side.alice(ask);
            let reached = async {
                sender.send(Ok(bytes.slice(1000..20 * MIB))).await.unwrap();
                side.hold.called(part).await;
            };
            tokio::select! {
                answered = request => panic!("answered before the end: {answered:?}"),
                () = reached => {}
            }
        }
        if kind == StoreKind::Streaming {
            side.hold.called("part 2 broken").await;
        }
        assert_eq!(side.range(&location).await.unwrap(), "0-999");
        side.finish(&location, &bytes, 1000).await;
    }
}

#[tokio::test]
async fn a_silent_client_is_given_up() {
    for kind in KINDS {
        let side = BlobSide::start_with(
            kind,
            super::Limits {
                body_idle: Duration::from_millis(50),
                ..super::Limits::default()
            },
        )
        .await;
        let location = side.begin().await;
        let (sender, ask) = Ask::patch(&location).streamed();
        sender.try_send(Ok(noise(1000))).unwrap();
        let given_up = side.alice(ask).await;
        assert!(
            matches!(given_up, Err(RegistryError::BodyInterrupted { .. })),
            "{given_up:?}"
        );
        assert_eq!(side.range(&location).await.unwrap(), "0-0");
    }
}
