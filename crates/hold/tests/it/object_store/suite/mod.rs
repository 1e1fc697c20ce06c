//! The behaviour itself, the same for every store.

use atcr_hold::blobs::{BlobError, ContentProof, DownloadMethod, ObjectKey, PartTag, Swept};
use atcr_oci::{Algorithm, Digest};
use chrono::TimeDelta;
use http::{Method, StatusCode, header};
use uuid::Uuid;

use super::world::{Backend, World, alice, mallory, noise, sha256};

pub(crate) async fn a_blob_goes_in_and_comes_out(world: World) {
    let bytes = noise(70_000, 1);
    let digest = sha256(&bytes);
    assert_eq!(world.size_of(&digest).await, None);
    let nowhere = world.service.download_url(&digest, DownloadMethod::Get).await;
    assert_eq!(nowhere.unwrap(), None);

    let upload = world.initiate().await;
    assert_eq!(upload.store, world.store.traits());
    let answer = world.put(&upload.first_part, bytes.clone()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let etag = answer.headers()[header::ETAG].to_str().unwrap();
    // Quotes or not is the sender's choice.
    let tag = PartTag {
        part_number: 1,
        etag: etag.trim_matches('"').to_owned(),
    };
    assert_eq!(
        world.size_of(&digest).await,
        None,
        "visible before it is complete"
    );
    let completed = world.complete(&upload, &digest, &[tag]).await.unwrap();
    assert_eq!(completed.size, 70_000);

    assert_eq!(world.size_of(&digest).await, Some(70_000));
    assert_eq!(world.download(&digest).await, bytes);
    assert!(world.object_path(&ObjectKey::blob(&digest)).is_file());

    let url = world.download_url(&digest, DownloadMethod::Head).await;
    let answer = world.http.head(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::CONTENT_LENGTH], "70000");

    let url = world.download_url(&digest, DownloadMethod::Get).await;
    for (range, expected) in [
        ("bytes=0-9", &bytes[..10]),
        ("bytes=69990-", &bytes[69_990..]),
        ("bytes=-5", &bytes[69_995..]),
    ] {
        let answer = world
            .http
            .get(url.clone())
            .header(header::RANGE, range)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(answer.bytes().await.unwrap(), expected, "{range}");
    }
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn parts_are_joined_in_order(world: World) {
    let bytes = noise(world.large_part() * 2 + 12_345, 2);
    let digest = sha256(&bytes);
    let upload = world.initiate().await;
    let mut tags = Vec::new();
    for (part, number) in bytes.chunks(world.large_part()).zip(1..) {
        tags.push(world.send(&upload, number, part).await);
    }
    assert_eq!(tags.len(), 3);
    world.complete(&upload, &digest, &tags).await.unwrap();
    assert_eq!(world.download(&digest).await, bytes);
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn an_empty_blob_is_a_blob(world: World) {
    let digest = world.upload(b"").await;
    assert_eq!(world.size_of(&digest).await, Some(0));
    assert_eq!(world.download(&digest).await, b"");
    let upload = world.initiate().await;
    let no_part = world.complete(&upload, &digest, &[]).await;
    assert!(
        matches!(no_part, Err(BlobError::MissingParts { .. })),
        "{no_part:?}"
    );
}

pub(crate) async fn sha512_names_a_blob_as_well(world: World) {
    // The in-process S3 makes a file name of the whole key, and one this long is longer than a file name may be.
    if world.backend == Backend::S3s {
        return;
    }
    let bytes = noise(1_500_000, 3);
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    // Announced at the beginning, as a client that knows its digest may, or only said at the end.
    for identifier in ["uploads/temp-1", "sha512:0a1b"] {
        let upload = world.service.initiate(&alice(), identifier, None).await.unwrap();
        let tag = world.send(&upload, 1, &bytes).await;
        let wrong = Digest::of(Algorithm::Sha512, b"something else");
        let refused = world.complete(&upload, &wrong, &[tag]).await;
        assert!(
            matches!(refused, Err(BlobError::DigestMismatch { .. })),
            "{refused:?}"
        );

        let upload = world.service.initiate(&alice(), identifier, None).await.unwrap();
        let tag = world.send(&upload, 1, &bytes).await;
        world.complete(&upload, &digest, &[tag]).await.unwrap();
    }
    assert_eq!(world.download(&digest).await, bytes);
    assert!(
        ObjectKey::blob(&digest)
            .as_str()
            .starts_with("docker/registry/v2/blobs/sha512/")
    );
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn other_bytes_cannot_be_planted(world: World) {
    let wanted = sha256(b"what the victim will push");
    let planted = b"what the attacker sends".as_slice();
    // Without a word from an AppView, and with one that was given for another number of bytes.
    for vouched in [None, Some(ContentProof { size: 1 })] {
        let upload = world.initiate().await;
        let tag = world.send(&upload, 1, planted).await;
        let outcome = world
            .service
            .complete(
                &alice(),
                &upload.upload_id,
                &wanted,
                std::slice::from_ref(&tag),
                vouched,
            )
            .await;
        match outcome {
            Err(BlobError::DigestMismatch { claimed, actual }) => {
                assert_eq!((claimed, actual), (wanted.clone(), sha256(planted)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.size_of(&wanted).await, None);
        assert_eq!(
            world.size_of(&sha256(planted)).await,
            None,
            "nor under its own digest"
        );
        // The upload is gone with its bytes.
        let again = world.complete(&upload, &sha256(planted), &[tag]).await;
        assert!(matches!(again, Err(BlobError::InvalidUploadId)), "{again:?}");
    }
    world.assert_nothing_unfinished().await;
}

pub(crate) async fn what_is_there_is_never_written_again(world: World) {
    let bytes = noise(5_000, 4);
    let digest = world.upload(&bytes).await;
    // A mark that would be gone, was the object written again.
    let path = world.object_path(&ObjectKey::blob(&digest));
    let before = std::fs::metadata(&path).unwrap();
    world.upload(&bytes).await;
    let after = std::fs::metadata(&path).unwrap();
    {
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(
            (before.ino(), before.mtime_nsec()),
            (after.ino(), after.mtime_nsec())
        );
    }

    let upload = world.initiate().await;
    let tag = world.send(&upload, 1, b"other bytes").await;
    let refused = world.complete(&upload, &digest, &[tag]).await;
    assert!(
        matches!(refused, Err(BlobError::DigestMismatch { .. })),
        "{refused:?}"
    );
    assert_eq!(world.download(&digest).await, bytes);
    world.assert_nothing_unfinished().await;
}

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

pub(crate) async fn a_url_is_good_for_one_method_one_path_and_a_while(world: World) {
    let digest = world.upload(b"signed").await;
    let upload = world.initiate().await;
    let part = world.part_url(&upload, 1).await.url;
    let get = world.download_url(&digest, DownloadMethod::Get).await;
    let head = world.download_url(&digest, DownloadMethod::Head).await;

    assert_eq!(world.status_of(Method::GET, &get).await, StatusCode::OK);
    assert_eq!(world.status_of(Method::HEAD, &head).await, StatusCode::OK);
    for (method, url) in [
        (Method::HEAD, &get),
        (Method::GET, &head),
        (Method::PUT, &get),
        (Method::GET, &part),
    ] {
        let status = world.status_of(method.clone(), url).await;
        // A route that knows no such method may say that first.
        assert!(
            status == StatusCode::FORBIDDEN || status == StatusCode::METHOD_NOT_ALLOWED,
            "{method}: {status}"
        );
    }
    assert_eq!(world.download(&digest).await, b"signed");

    let forged = |url: &url::Url, from: &str, to: &str| -> url::Url {
        let forged = url.as_str().replacen(from, to, 1);
        assert_ne!(forged, url.as_str());
        forged.parse().unwrap()
    };
    let hex = digest.hex();
    let elsewhere = forged(&get, hex, sha256(b"other").hex());
    assert_eq!(
        world.status_of(Method::GET, &elsewhere).await,
        StatusCode::FORBIDDEN
    );
    let unsigned = {
        let mut url = get.clone();
        url.set_query(None);
        url
    };
    assert_eq!(
        world.status_of(Method::GET, &unsigned).await,
        StatusCode::FORBIDDEN
    );
    let other_part = match world.backend {
        Backend::Filesystem => forged(&part, "/1?", "/2?"),
        _ => forged(&part, "partNumber=1", "partNumber=2"),
    };
    assert_eq!(
        world.status_of(Method::PUT, &other_part).await,
        StatusCode::FORBIDDEN
    );

    // Signed twenty minutes ago; they are good for fifteen.
    world.clock.shift(TimeDelta::minutes(-20));
    let old_get = world.download_url(&digest, DownloadMethod::Get).await;
    let old_part = world.part_url(&upload, 1).await.url;
    world.clock.shift(TimeDelta::minutes(20));
    assert_eq!(
        world.status_of(Method::GET, &old_get).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        world.status_of(Method::PUT, &old_part).await,
        StatusCode::FORBIDDEN
    );
    world.service.abort(&alice(), &upload.upload_id).await.unwrap();
}

pub(crate) async fn unsafe_identifiers_and_part_numbers_are_refused(world: World) {
    let too_long = "a".repeat(257);
    for identifier in [
        "",
        "..",
        "uploads/../../etc/passwd",
        "/etc/passwd",
        "a b",
        "a\\b",
        "a\0b",
        "ü",
        "a?b",
        &too_long,
    ] {
        let refused = world.service.initiate(&alice(), identifier, None).await;
        assert!(
            matches!(refused, Err(BlobError::InvalidIdentifier)),
            "{identifier:?}"
        );
    }
    world.assert_nothing_unfinished().await;
    let longest = "a".repeat(256);
    let digest = sha256(b"").to_string();
    for identifier in ["x", "uploads/temp-1", &longest, &digest] {
        let upload = world
            .service
            .initiate(&alice(), identifier, Some(9))
            .await
            .unwrap();
        for number in [0, 10_001, u32::MAX] {
            let refused = world.service.part_url(&alice(), &upload.upload_id, number).await;
            assert!(
                matches!(refused, Err(BlobError::InvalidPartNumber(_))),
                "{number}"
            );
        }
        world.part_url(&upload, 10_000).await;
        world.service.abort(&alice(), &upload.upload_id).await.unwrap();
    }
    // An upload that names a digest does not begin at the blob's own key.
    assert!(!world.object_path(&ObjectKey::blob(&sha256(b""))).exists());
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

pub(crate) async fn blobs_of_the_older_layout_are_found(world: World) {
    let digest = sha256(b"from before");
    let path = world.object_path(&ObjectKey::legacy_blob(&digest));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"from before").unwrap();
    assert_eq!(world.size_of(&digest).await, Some(11));
    assert_eq!(world.download(&digest).await, b"from before");
    // The place of today goes first.
    world.upload(b"from before").await;
    let url = world.download_url(&digest, DownloadMethod::Get).await;
    assert!(url.path().contains("docker/registry/v2/blobs"), "{}", url.path());
}
