//! What only an S3 store does: leave the copying to the server, and URLs to a CDN.

use std::sync::Arc;

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_hold::adapters::s3::{CopyLimits, S3Options, S3Store};
use atcr_hold::blobs::{BlobError, ContentProof, DownloadMethod, ObjectKey, ObjectStore, PartTag};
use atcr_oci::Algorithm;
use chrono::{TimeDelta, Utc};
use http::{StatusCode, header};

use super::servers::versitygw_binary;
use super::world::{Backend, World, alice, noise, sha256};

const MIB: u64 = 1024 * 1024;

fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::S3s];
    backends.extend(versitygw_binary().map(Backend::Versitygw));
    backends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_the_holds_own_is_stored_read_and_removed() {
    for backend in backends() {
        let world = World::start(backend).await;
        super::own_objects(&world.s3_store(|_| {})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_one_copy_is_copied_in_parts() {
    for backend in backends() {
        let world = World::start(backend).await;
        let limits = CopyLimits {
            whole: 6 * MIB,
            part: 5 * MIB,
        };
        let store: Arc<dyn ObjectStore> = Arc::new(world.s3_store(|_| {}).with_copy_limits(limits));
        let service = world.service_over(&store);
        let bytes = noise(11 * 1024 * 1024 + 5, 30);
        let digest = sha256(&bytes);
        let upload = world.initiate().await;
        let tag = world.send(&upload, 1, &bytes).await;
        service
            .complete(&alice(), &upload.upload_id, &digest, &[tag], None)
            .await
            .unwrap();
        assert!(world.download(&digest).await == bytes);
        world.assert_nothing_unfinished().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_appviews_word_spares_the_reading() {
    for backend in backends() {
        let world = World::start(backend).await;
        // Not what the bytes are, so that it shows: they were not read.
        let vouched_for = sha256(b"something else");
        let upload = world.initiate().await;
        let tag = world.send(&upload, 1, b"bytes").await;
        let proof = Some(ContentProof { size: 5 });
        world
            .service
            .complete(&alice(), &upload.upload_id, &vouched_for, &[tag], proof)
            .await
            .unwrap();
        assert_eq!(world.size_of(&vouched_for).await, Some(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_after_it_was_read_is_not_published() {
    let Some(binary) = versitygw_binary() else {
        eprintln!("SKIPPED: ATCR_VERSITYGW names no binary, and the in-process S3 copies without conditions");
        return;
    };
    let world = World::start(Backend::Versitygw(binary)).await;
    let limits = CopyLimits {
        whole: 1,
        part: 5 * MIB,
    };
    for in_parts in [false, true] {
        let store = world.s3_store(|_| {});
        let store = if in_parts {
            store.with_copy_limits(limits)
        } else {
            store
        };
        let upload = world.initiate().await;
        let tag = world.send(&upload, 1, b"as it was read").await;
        let unfinished = world.store.list_unfinished(1).await.unwrap().remove(0).upload;
        let assembled = store.assemble(&unfinished, &[tag]).await.unwrap();
        // Another object takes its place before it is copied.
        let other = store.begin(&unfinished.key, Algorithm::Sha256).await.unwrap();
        let expires_at = world.clock.now() + TimeDelta::minutes(5);
        let target = store.part_url(&other, 1, expires_at).await.unwrap();
        let sent = world.put(&target, b"something else".to_vec()).await;
        let tag = PartTag {
            part_number: 1,
            etag: sent.headers()[header::ETAG].to_str().unwrap().to_owned(),
        };
        store.assemble(&other, &[tag]).await.unwrap();

        let key = ObjectKey::blob(&sha256(b"as it was read"));
        let published = store.publish(&unfinished, &assembled, &key).await;
        assert!(published.is_err(), "in parts: {in_parts}");
        assert_eq!(store.stat(&key).await.unwrap(), None);
        store.discard(&unfinished).await.unwrap();
        world.service.abort(&alice(), &upload.upload_id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_too_small_is_the_uploaders_mistake() {
    let Some(binary) = versitygw_binary() else {
        eprintln!("SKIPPED: ATCR_VERSITYGW names no binary, and the in-process S3 takes parts of any size");
        return;
    };
    let world = World::start(Backend::Versitygw(binary)).await;
    let upload = world.initiate().await;
    let tags = [
        world.send(&upload, 1, b"small").await,
        world.send(&upload, 2, b"er").await,
    ];
    let refused = world.complete(&upload, &sha256(b"smaller"), &tags).await;
    assert!(
        matches!(refused, Err(BlobError::MissingParts { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_zone_stands_in_for_the_service_in_downloads() {
    for backend in backends() {
        let world = World::start(backend).await;
        let digest = world.upload(b"cached").await;
        // The same server under another name plays the CDN.
        let port = world.url().port().unwrap();
        let cdn: url::Url = format!("http://localhost:{port}").parse().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(world.s3_store(|options| options.pull_zone = Some(cdn)));
        let service = world.service_over(&store);
        let url = service
            .download_url(None, &digest, DownloadMethod::Get)
            .await
            .unwrap()
            .unwrap()
            .url;
        assert_eq!(url.host_str(), Some("localhost"));
        let forwarded = world
            .http
            .get(url.clone())
            .header(header::HOST, format!("127.0.0.1:{port}"))
            .send()
            .await
            .unwrap();
        assert_eq!(forwarded.status(), StatusCode::OK);
        let with_own_host = world.http.get(url).send().await.unwrap();
        assert_eq!(with_own_host.status(), StatusCode::FORBIDDEN);

        let upload = service.initiate(&alice(), "x", None).await.unwrap();
        assert_eq!(
            upload.first_part.url.host_str(),
            Some("127.0.0.1"),
            "uploads go to the service"
        );
        service.abort(&alice(), &upload.upload_id).await.unwrap();
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the URL's time is not looked at")]
async fn a_bucket_is_addressed_by_host_or_by_path() {
    let options = |endpoint: Option<&str>, path_style| S3Options {
        bucket: "layers".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: endpoint.map(|url| url.parse().unwrap()),
        path_style,
        pull_zone: None,
        access_key: "id".to_owned(),
        secret_key: "secret".into(),
    };
    let key = ObjectKey::blob(&sha256(b""));
    for (endpoint, path_style, expected) in [
        (
            None,
            false,
            "https://layers.s3.eu-central-1.amazonaws.com/docker/",
        ),
        (
            Some("https://s3.example:9000"),
            true,
            "https://s3.example:9000/layers/docker/",
        ),
        (
            Some("https://s3.example:9000"),
            false,
            "https://layers.s3.example:9000/docker/",
        ),
    ] {
        let store = S3Store::new(&options(endpoint, path_style), Arc::new(SystemClock));
        let expires_at = Utc::now() + TimeDelta::minutes(15);
        let url = store
            .download_url(&key, DownloadMethod::Get, expires_at)
            .await
            .unwrap()
            .url;
        assert!(url.as_str().starts_with(expected), "{url}");
        let life = url
            .query_pairs()
            .find(|(name, _)| name == "X-Amz-Expires")
            .unwrap()
            .1;
        assert!(("895"..="900").contains(&&*life), "{life}");
        assert!(!url.as_str().to_ascii_lowercase().contains("checksum"), "{url}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_a_failure_and_no_absence() {
    let world = World::start(Backend::S3s).await;
    let store: Arc<dyn ObjectStore> = Arc::new(world.s3_store(|options| {
        options.secret_key = "wrong".into();
    }));
    let service = world.service_over(&store);
    assert!(matches!(
        service.stat(None, &sha256(b"")).await,
        Err(BlobError::Store(_))
    ));
    assert!(matches!(service.ping().await, Err(BlobError::Store(_))));
    world.service.ping().await.unwrap();
}
