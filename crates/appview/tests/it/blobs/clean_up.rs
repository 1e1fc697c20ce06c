//! Expired uploads are removed here whatever their holds do.

use std::time::Duration;

use atcr_registry::error::{RegistryError, UploadError};
use atcr_test_support::fakes::{FakeHold, StoreKind};
use chrono::TimeDelta;

use super::{BlobSide, hold_ref, noise};

#[tokio::test]
async fn a_silent_hold_keeps_no_expired_upload_here_and_holds_up_no_other_hold() {
    let mut side = BlobSide::start(StoreKind::Streaming).await;
    // A hold may take as long as the test: whatever waits for it is seen to.
    side.timeouts.call = Duration::from_hours(1);
    side.restart().await;
    let mut uploads = Vec::new();
    for _ in 0..3 {
        let location = side.begin().await;
        side.patch(&location, noise(100)).await.unwrap();
        uploads.push(location);
    }
    let other = FakeHold::start(StoreKind::Streaming).await.unwrap();
    *side.directory.holds.lock().unwrap() = vec![hold_ref(&other)];
    let location = side.begin().await;
    side.patch(&location, noise(100)).await.unwrap();
    uploads.push(location);

    side.hold.set_silent(true);
    side.clock.advance(TimeDelta::days(30));
    let told = async {
        tokio::select! {
            swept = side.uploads.sweep() => assert_eq!(swept.unwrap().expired, 4),
            () = other.called("abortUpload") => {}
        }
    };
    tokio::time::timeout(Duration::from_mins(1), told)
        .await
        .expect("the hold that answers is told");
    for upload in uploads {
        let gone = side.range(&upload).await;
        assert!(
            matches!(gone, Err(RegistryError::Upload(UploadError::Unknown { .. }))),
            "{gone:?}"
        );
    }
    assert!(side.spool_is_empty());
    assert_eq!(other.open_uploads(), 0);
}
