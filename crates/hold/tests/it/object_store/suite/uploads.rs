//! Uploads: whose they are, how they end, what becomes of those that do not.

use atcr_hold::blobs::{BlobError, ObjectKey, PartTag, Swept};
use atcr_oci::Algorithm;
use chrono::TimeDelta;
use uuid::Uuid;

use crate::object_store::world::{Backend, World, alice, mallory, noise, sha256};

pub(crate) async fn an_upload_belongs_to_who_began_it(world: World) {
    let upload = world.initiate().await;
    let id = upload.upload_id.as_str();
    let bytes = b"alice's own";
    let tag = world.send(&upload, 1, bytes).await;
    let digest = sha256(bytes);
    let service = &world.service;
    let tags = [tag];
    let refusals = [
        service.part_url(&mallory(), id, 2).await.err(),
        service.complete(&mallory(), id, &digest, &tags, None).await.err(),
        service.abort(&mallory(), id).await.err(),
        service.part_url(&alice(), "no-such-upload", 2).await.err(),
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Some(BlobError::InvalidUploadId)), "{refusal:?}");
    }
    world.complete(&upload, &digest, &tags).await.unwrap();
    let other = world.initiate().await;
    assert_ne!(upload.upload_id, other.upload_id);
    assert!(other.upload_id.len() >= 43);
    service.abort(&alice(), &other.upload_id).await.unwrap();
}

pub(crate) async fn completion_can_be_repeated(world: World) {
    let bytes = noise(2_000_000, 5);
    let digest = sha256(&bytes);
    let upload = world.initiate().await;
    let tags = [world.send(&upload, 1, &bytes).await];
    // At the same time, as a client that gave up waiting does; then once more.
    let (first, second, third) = tokio::join!(
        world.complete(&upload, &digest, &tags),
        world.complete(&upload, &digest, &tags),
        world.complete(&upload, &digest, &tags),
    );
    for outcome in [first, second, third] {
        assert_eq!(outcome.unwrap().size, 2_000_000);
    }
    assert_eq!(
        world.complete(&upload, &digest, &tags).await.unwrap().size,
        2_000_000
    );
    // But it stays what it is.
    let other = world.complete(&upload, &sha256(b"other"), &tags).await;
    assert!(matches!(other, Err(BlobError::InvalidUploadId)), "{other:?}");
    let aborted = world.service.abort(&alice(), &upload.upload_id).await;
    assert!(matches!(aborted, Err(BlobError::InvalidUploadId)), "{aborted:?}");
    let more = world.service.part_url(&alice(), &upload.upload_id, 2).await;
    assert!(matches!(more, Err(BlobError::InvalidUploadId)), "{more:?}");
    assert_eq!(world.download(&digest).await, bytes);
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn parts_must_be_those_that_were_sent(world: World) {
    let bytes = noise(world.large_part() + 10, 6);
    let digest = sha256(&bytes);
    let upload = world.initiate().await;
    let (head, tail) = bytes.split_at(world.large_part());
    let first = world.send(&upload, 1, head).await;
    let second = world.send(&upload, 2, tail).await;
    let renamed = PartTag {
        etag: "\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned(),
        ..second.clone()
    };
    let never_sent = PartTag {
        part_number: 3,
        ..second.clone()
    };
    let mut wrong = vec![
        vec![second.clone(), first.clone()],
        vec![first.clone(), first.clone()],
    ];
    // The in-process S3 does not compare tags, and gives an upload up for a part that is missing.
    if world.backend != Backend::S3s {
        wrong.push(vec![first.clone(), second.clone(), never_sent]);
        wrong.push(vec![first.clone(), renamed]);
    }
    for parts in wrong {
        let outcome = world.complete(&upload, &digest, &parts).await;
        assert!(
            matches!(outcome, Err(BlobError::MissingParts { .. })),
            "{parts:?}: {outcome:?}"
        );
    }
    // None of it has harmed the upload.
    world.complete(&upload, &digest, &[first, second]).await.unwrap();
    assert_eq!(world.download(&digest).await, bytes);
}

pub(crate) async fn a_part_can_be_sent_again(world: World) {
    let bytes = noise(world.large_part() + 500, 7);
    let (head, tail) = bytes.split_at(world.large_part());
    let upload = world.initiate().await;
    world.send(&upload, 1, &noise(40, 8)).await;
    let first = world.send(&upload, 1, head).await;
    world.send(&upload, 2, &noise(world.large_part(), 9)).await;
    let second = world.send(&upload, 2, tail).await;
    let digest = sha256(&bytes);
    let completed = world.complete(&upload, &digest, &[first, second]).await.unwrap();
    assert_eq!(completed.size, bytes.len() as u64);
    assert_eq!(world.download(&digest).await, bytes);
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn an_aborted_upload_is_gone(world: World) {
    let upload = world.initiate().await;
    let second = world.part_url(&upload, 2).await;
    let tag = world.send(&upload, 1, b"never mind").await;
    world.service.abort(&alice(), &upload.upload_id).await.unwrap();
    world.assert_nothing_unfinished().await;

    let again = world.service.abort(&alice(), &upload.upload_id).await;
    assert!(matches!(again, Err(BlobError::InvalidUploadId)), "{again:?}");
    let completed = world.complete(&upload, &sha256(b"never mind"), &[tag]).await;
    assert!(
        matches!(completed, Err(BlobError::InvalidUploadId)),
        "{completed:?}"
    );
    // A URL that was handed out before leads nowhere now.
    let late = world.put(&second, b"late".to_vec()).await;
    assert!(late.status().is_client_error(), "{}", late.status());
    assert_eq!(world.size_of(&sha256(b"never mind")).await, None);
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn what_nobody_finishes_is_swept(world: World) {
    let finished = world.upload(b"finished").await;
    let idle = world.initiate().await;
    world.send(&idle, 1, b"idle").await;
    world.initiate().await;
    assert_eq!(world.service.sweep_expired().await.unwrap(), Swept::default());

    world.clock.shift(TimeDelta::hours(23));
    // The store's own marks of time have not moved with the clock, but the upload is used.
    let used = world.initiate().await;
    let first = world.service.sweep_expired().await.unwrap();
    assert_eq!(first, Swept::default());
    world.clock.shift(TimeDelta::hours(2));
    let swept = world.service.sweep_expired().await.unwrap();
    let expected = Swept {
        uploads: 2,
        forgotten: 1,
        leftovers: 0,
        failed: 0,
    };
    assert_eq!(swept, expected);
    let gone = world.service.part_url(&alice(), &idle.upload_id, 2).await;
    assert!(matches!(gone, Err(BlobError::InvalidUploadId)), "{gone:?}");

    assert_eq!(world.size_of(&finished).await, Some(8));
    world
        .service
        .part_url(&alice(), &used.upload_id, 1)
        .await
        .unwrap();
    world.service.abort(&alice(), &used.upload_id).await.unwrap();
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn what_only_the_store_knows_is_swept(world: World) {
    let orphan = |number| ObjectKey::upload(Uuid::from_u128(number));
    world.store.begin(&orphan(1), Algorithm::Sha256).await.unwrap();
    // One whose parts were joined before the crash.
    let upload = world.initiate().await;
    let tag = world.send(&upload, 1, b"joined").await;
    let listed = world.store.list_unfinished(100).await.unwrap();
    if world.backend == Backend::S3s {
        // It keeps no list; what it cannot be asked for cannot be swept.
        assert!(listed.is_empty());
        return;
    }
    assert_eq!(listed.len(), 2);
    let known = listed
        .iter()
        .map(|found| found.upload.clone())
        .find(|found| found.key != orphan(1))
        .unwrap();
    world.store.assemble(&known, &[tag]).await.unwrap();

    world.clock.shift(TimeDelta::hours(23));
    assert_eq!(world.service.sweep_expired().await.unwrap(), Swept::default());
    let another = world.initiate().await;
    world.clock.shift(TimeDelta::hours(2));
    let swept = world.service.sweep_expired().await.unwrap();
    let expected = Swept {
        uploads: 1,
        forgotten: 0,
        leftovers: 1,
        failed: 0,
    };
    assert_eq!(swept, expected);
    world
        .service
        .part_url(&alice(), &another.upload_id, 1)
        .await
        .unwrap();
    world.service.abort(&alice(), &another.upload_id).await.unwrap();
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn an_upload_outlives_the_process(mut world: World) {
    let bytes = noise(world.large_part() * 2 + 99, 10);
    let digest = sha256(&bytes);
    let upload = world.initiate().await;
    let mut tags = Vec::new();
    for (part, number) in bytes.chunks(world.large_part()).zip(1..) {
        tags.push(world.send(&upload, number, part).await);
        world.restart().await;
        // Sending the same part once more is still possible.
        tags.pop();
        tags.push(world.send(&upload, number, part).await);
    }
    world.complete(&upload, &digest, &tags).await.unwrap();
    world.restart().await;
    assert_eq!(world.download(&digest).await, bytes);
    // Also the repetition of a lost answer.
    let again = world.complete(&upload, &digest, &tags).await.unwrap();
    assert_eq!(again.size, bytes.len() as u64);
    world.assert_nothing_unfinished().await;
}
