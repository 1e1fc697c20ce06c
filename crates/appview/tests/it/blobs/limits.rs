//! What uploads may take of this server.

use atcr_appview::adapters::spool::SpoolLimits;
use atcr_registry::error::{RegistryError, UploadError};
use atcr_test_support::fakes::StoreKind;

use super::{Ask, BOB, BlobSide, Limits, MIB, noise, sha256};

const UPLOADS: &str = "/v2/alice.test/app/blobs/uploads/";

async fn spool_of(account_mib: u64, total_mib: u64) -> BlobSide {
    let limits = Limits {
        spool: SpoolLimits {
            account_bytes: account_mib * MIB as u64,
            total_bytes: total_mib * MIB as u64,
        },
        ..Limits::default()
    };
    BlobSide::start_with(StoreKind::Parts { min: 5 * MIB as u64 }, limits).await
}

#[tokio::test]
async fn an_account_has_so_many_unfinished_uploads_and_no_more() {
    let limits = Limits {
        sessions: 2,
        ..Limits::default()
    };
    let mut side = BlobSide::start_with(StoreKind::Streaming, limits).await;
    let first = side.begin().await;
    side.begin().await;
    side.restart().await;
    let third = side.alice(Ask::post(UPLOADS)).await;
    assert!(
        matches!(
            third,
            Err(RegistryError::Upload(UploadError::TooMany { most: 2, .. }))
        ),
        "{third:?}"
    );
    let other = side.send(BOB, Ask::post("/v2/bob.test/app/blobs/uploads/")).await;
    assert!(other.is_ok(), "another account has its own: {other:?}");
    side.put(&first, &sha256(b"done"), "done").await.unwrap();
    side.begin().await;
}

#[tokio::test]
async fn uploads_in_one_request_are_counted_while_they_last() {
    let limits = Limits {
        sessions: 1,
        ..Limits::default()
    };
    let side = BlobSide::start_with(StoreKind::Streaming, limits).await;
    let bytes = noise(2 * MIB);
    let whole = || format!("{UPLOADS}?digest={}", sha256(&bytes));
    let (sender, ask) = Ask::post(&whole()).streamed();
    let mut first = Box::pin(side.alice(ask));
    let begun = async {
        sender.send(Ok(bytes.slice(..MIB))).await.unwrap();
        side.hold.called("initiateUpload").await;
    };
    tokio::select! {
        answered = first.as_mut() => panic!("answered before the end: {answered:?}"),
        () = begun => {}
    }
    let second = side.alice(Ask::post(&whole()).bytes(bytes.clone())).await;
    assert!(
        matches!(
            second,
            Err(RegistryError::Upload(UploadError::TooMany { most: 1, .. }))
        ),
        "{second:?}"
    );
    let rest = async {
        sender.send(Ok(bytes.slice(MIB..))).await.unwrap();
        drop(sender);
    };
    let (first, ()) = tokio::join!(first, rest);
    first.unwrap();
    side.alice(Ask::post(&whole()).bytes(bytes.clone()))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_account_spools_so_many_bytes_and_what_it_gives_up_makes_room() {
    let mut side = spool_of(8, 64).await;
    let one = side.begin().await;
    side.patch(&one, noise(6 * MIB)).await.unwrap();
    side.restart().await;
    let two = side.begin().await;
    // The account of what an earlier run left is known again once the session is gone on with.
    side.patch(&one, noise(1000)).await.unwrap();
    let refused = side.patch(&two, noise(4 * MIB)).await;
    assert!(
        matches!(refused, Err(RegistryError::Upload(UploadError::SpoolQuota { limit, .. })) if limit == 8 * MIB as u64),
        "{refused:?}"
    );
    assert_eq!(
        side.range(&two).await.unwrap(),
        "0-0",
        "the session stands where it stood"
    );
    side.alice(Ask::delete(&one)).await.unwrap();
    side.patch(&two, noise(4 * MIB)).await.unwrap();
}

#[tokio::test]
async fn all_accounts_together_spool_so_many_bytes() {
    let side = spool_of(8, 13).await;
    let one = side.begin().await;
    side.patch(&one, noise(6 * MIB)).await.unwrap();
    let theirs = side
        .send(BOB, Ask::post("/v2/bob.test/app/blobs/uploads/"))
        .await
        .unwrap();
    let theirs = super::header(&theirs, &http::header::LOCATION);
    let refused = side.send(BOB, Ask::patch(&theirs).bytes(noise(4 * MIB))).await;
    assert!(
        matches!(refused, Err(RegistryError::Upload(UploadError::SpoolFull { .. }))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_large_upload_needs_no_more_of_the_spool_than_its_parts_on_their_way() {
    let side = spool_of(80, 160).await;
    let bytes = noise(200 * MIB);
    side.put(&side.begin().await, &sha256(&bytes), bytes.clone())
        .await
        .unwrap();
    side.assert_stored(&sha256(&bytes), &bytes);
}
