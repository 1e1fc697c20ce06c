//! What every store must do. Each function is one test, run once for each store.

mod uploads;

use atcr_hold::blobs::{BlobError, ContentProof, DownloadMethod, ObjectKey, PartTag};
use atcr_oci::{Algorithm, Digest};
use chrono::TimeDelta;
use http::{Method, StatusCode, header};

pub(super) use self::uploads::*;
use super::world::{Backend, World, alice, noise, sha256};

pub(crate) async fn a_blob_goes_in_and_comes_out(world: World) {
    let bytes = noise(70_000, 1);
    let digest = sha256(&bytes);
    assert_eq!(world.size_of(&digest).await, None);
    let nowhere = world
        .service
        .download_url(None, &digest, DownloadMethod::Get)
        .await;
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
