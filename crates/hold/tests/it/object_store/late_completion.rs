//! Completions that take longer than an uploader waits, on S3: what is promised, to whom, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use atcr_hold::blobs::{
    BlobError, BlobOptions, BlobService, ContentProof, DownloadMethod, Initiated, ObjectKey, ObjectStore,
    PartTag, Promise, PromiseLimits, Swept, UploadSessions as _,
};
use atcr_oci::Digest;
use chrono::{TimeDelta, TimeZone as _, Utc};
use http::header;
use tokio_util::sync::CancellationToken;

use super::servers::versitygw_binary;
use super::stalling_store::{StallingStore, Step};
use super::world::{Backend, World, alice, mallory, noise, sha256};

fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::S3s];
    backends.extend(versitygw_binary().map(Backend::Versitygw));
    backends
}

/// A service that promises at once, over a store that stalls at `step`.
struct Stalled {
    store: Arc<StallingStore>,
    service: BlobService,
    stop: CancellationToken,
}

impl Stalled {
    fn at(step: Step, world: &World) -> Self {
        let store = StallingStore::new(world.store.clone(), step);
        let stop = CancellationToken::new();
        let options = BlobOptions {
            patience: Duration::ZERO,
            promise_wait: Duration::ZERO,
            retry_pause: Duration::from_millis(1),
            stop: stop.clone(),
            ..BlobOptions::default()
        };
        let dynamic: Arc<dyn ObjectStore> = store.clone();
        Self {
            service: world.service_with_options(&dynamic, options),
            store,
            stop,
        }
    }

    /// Completes an upload of `bytes` as `digest`, which is promised.
    async fn promise(&self, world: &World, bytes: &[u8], digest: &Digest) -> (Initiated, Vec<PartTag>) {
        let upload = world.initiate().await;
        let tags = vec![world.send(&upload, 1, bytes).await];
        let completed = self
            .service
            .complete(&alice(), &upload.upload_id, digest, &tags, None)
            .await
            .unwrap();
        assert_eq!(
            (completed.size, completed.is_promised),
            (bytes.len() as u64, true)
        );
        (upload, tags)
    }

    /// Lets the store go on, and waits until a promise is closed.
    async fn go_on(&self) {
        let mut closed = self.service.promises_closed();
        self.store.go_on();
        closed.changed().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_completion_is_promised_to_its_uploader_and_to_no_one_else() {
    for backend in backends() {
        for step in [Step::Joining, Step::Reading, Step::Publishing] {
            let world = World::start(backend.clone()).await;
            let stalled = Stalled::at(step, &world);
            let service = &stalled.service;
            let bytes = noise(70_000, 50);
            let digest = sha256(&bytes);
            let (upload, tags) = stalled.promise(&world, &bytes, &digest).await;
            stalled.store.arrived().await;

            let stat = service.stat(Some(&alice()), &digest).await.unwrap();
            assert_eq!(stat.map(|blob| blob.size), Some(70_000));
            for other in [Some(&mallory()), None] {
                assert_eq!(service.stat(other, &digest).await.unwrap(), None);
                for method in [DownloadMethod::Get, DownloadMethod::Head] {
                    let url = service.download_url(other, &digest, method).await.unwrap();
                    assert_eq!(url, None, "{other:?}");
                }
            }
            let read = service
                .download_url(Some(&alice()), &digest, DownloadMethod::Get)
                .await;
            assert!(matches!(read, Err(BlobError::StillPromised)), "{read:?}");
            assert_eq!(world.store.stat(&ObjectKey::blob(&digest)).await.unwrap(), None);
            assert_eq!(
                service.promised_to(&alice()).await.unwrap(),
                std::slice::from_ref(&digest)
            );

            let id = upload.upload_id.as_str();
            let again = service
                .complete(&alice(), id, &digest, &tags, None)
                .await
                .unwrap();
            assert_eq!((again.size, again.is_promised), (70_000, true));
            let refusals = [
                service
                    .complete(&alice(), id, &sha256(b"other"), &tags, None)
                    .await
                    .err(),
                service.complete(&mallory(), id, &digest, &tags, None).await.err(),
                service.abort(&alice(), id).await.err(),
                service.part_url(&alice(), id, 2).await.err(),
            ];
            for refusal in refusals {
                assert!(matches!(refusal, Some(BlobError::InvalidUploadId)), "{refusal:?}");
            }

            stalled.go_on().await;
            assert_eq!(service.promised_to(&alice()).await.unwrap(), []);
            assert_eq!(world.size_of(&digest).await, Some(70_000));
            assert_eq!(world.download(&digest).await, bytes);
            let again = service
                .complete(&alice(), id, &digest, &tags, None)
                .await
                .unwrap();
            assert_eq!((again.size, again.is_promised), (70_000, false));
            world.assert_nothing_unfinished().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploader_can_ask_the_store_for_the_length_of_a_promised_blob() {
    for backend in backends() {
        let world = World::start(backend).await;
        let stalled = Stalled::at(Step::Reading, &world);
        let digest = sha256(b"fourteen bytes");
        stalled.promise(&world, b"fourteen bytes", &digest).await;
        stalled.store.arrived().await;
        let url = stalled
            .service
            .download_url(Some(&alice()), &digest, DownloadMethod::Head)
            .await
            .unwrap()
            .unwrap()
            .url;
        let answer = world.http.head(url).send().await.unwrap();
        assert_eq!(answer.headers()[header::CONTENT_LENGTH], "14");
        stalled.go_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_of_a_promised_blob_waits_for_it() {
    let world = World::start(Backend::S3s).await;
    let stalled = Stalled::at(Step::Reading, &world);
    let digest = sha256(b"awaited");
    stalled.promise(&world, b"awaited", &digest).await;
    stalled.store.arrived().await;
    let dynamic: Arc<dyn ObjectStore> = stalled.store.clone();
    // One that waits for as long as it takes.
    let options = BlobOptions {
        promise_wait: Duration::from_hours(1),
        patience: Duration::ZERO,
        ..BlobOptions::default()
    };
    let service = world.service_with_options(&dynamic, options);
    service.resume_promises().await.unwrap();
    stalled.stop.cancel();
    let reading = tokio::spawn({
        let (service, digest) = (service.clone(), digest.clone());
        async move {
            service
                .download_url(Some(&alice()), &digest, DownloadMethod::Get)
                .await
        }
    });
    stalled.store.arrived().await;
    assert!(!reading.is_finished());
    stalled.store.go_on();
    let url = reading.await.unwrap().unwrap().unwrap().url;
    let answer = world.http.get(url).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), &b"awaited"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_of_other_bytes_is_broken_and_the_digest_can_be_pushed_again() {
    for backend in backends() {
        let world = World::start(backend).await;
        let stalled = Stalled::at(Step::Reading, &world);
        let service = &stalled.service;
        let digest = sha256(b"what was promised");
        let (upload, tags) = stalled.promise(&world, b"what was sent", &digest).await;
        stalled.go_on().await;

        assert_eq!(service.stat(Some(&alice()), &digest).await.unwrap(), None);
        let nowhere = service
            .download_url(Some(&alice()), &digest, DownloadMethod::Get)
            .await;
        assert_eq!(nowhere.unwrap(), None);
        assert_eq!(world.size_of(&sha256(b"what was sent")).await, None);
        let again = service
            .complete(&alice(), &upload.upload_id, &digest, &tags, None)
            .await;
        assert!(matches!(again, Err(BlobError::InvalidUploadId)), "{again:?}");
        world.assert_nothing_unfinished().await;

        assert_eq!(world.upload(b"what was promised").await, digest);
        assert_eq!(world.download(&digest).await, b"what was promised");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_is_kept_by_the_next_process_wherever_the_last_one_ended() {
    for backend in backends() {
        for step in [Step::Joining, Step::Reading, Step::Publishing, Step::Published] {
            let mut world = World::start(backend.clone()).await;
            let stalled = Stalled::at(step, &world);
            let bytes = noise(2 * world.large_part() + 77, 51);
            let digest = sha256(&bytes);
            let upload = world.initiate().await;
            let mut tags = Vec::new();
            for (part, number) in bytes.chunks(world.large_part()).zip(1..) {
                tags.push(world.send(&upload, number, part).await);
            }
            let completed = stalled
                .service
                .complete(&alice(), &upload.upload_id, &digest, &tags, None)
                .await
                .unwrap();
            assert_eq!(
                (completed.size, completed.is_promised),
                (bytes.len() as u64, true)
            );
            stalled.store.arrived().await;
            // Nothing after the step is done, and nothing is written down.
            stalled.stop.cancel();
            drop(stalled);
            world.restart().await;

            let mut closed = world.service.promises_closed();
            world.service.resume_promises().await.unwrap();
            closed.changed().await.unwrap();
            assert_eq!(world.size_of(&digest).await, Some(bytes.len() as u64), "{step:?}");
            assert!(world.download(&digest).await == bytes, "{step:?}");
            let again = world.complete(&upload, &digest, &tags).await.unwrap();
            assert!(!again.is_promised);
            world.assert_nothing_unfinished().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_for_a_while_breaks_no_promise() {
    for step in [Step::Joining, Step::Reading, Step::Publishing, Step::Published] {
        let world = World::start(Backend::S3s).await;
        let stalled = Stalled::at(step, &world);
        let digest = sha256(b"in the end");
        stalled.promise(&world, b"in the end", &digest).await;
        stalled.store.fail(3);
        stalled.go_on().await;
        assert_eq!(world.download(&digest).await, b"in the end", "{step:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_that_cannot_be_kept_for_a_day_is_broken() {
    let world = World::start(Backend::S3s).await;
    let stalled = Stalled::at(Step::Reading, &world);
    let digest = sha256(b"never");
    stalled.promise(&world, b"never", &digest).await;
    stalled.store.arrived().await;
    world.clock.shift(TimeDelta::hours(25));
    stalled.store.fail(1);
    stalled.go_on().await;
    let stat = stalled.service.stat(Some(&alice()), &digest).await.unwrap();
    assert_eq!(stat, None);
    world.assert_nothing_unfinished().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweep_leaves_what_is_promised() {
    let world = World::start(Backend::S3s).await;
    let stalled = Stalled::at(Step::Reading, &world);
    let digest = sha256(b"late");
    stalled.promise(&world, b"late", &digest).await;
    stalled.store.arrived().await;
    world.clock.shift(TimeDelta::hours(25));
    assert_eq!(stalled.service.sweep_expired().await.unwrap(), Swept::default());
    stalled.go_on().await;
    assert_eq!(world.size_of(&digest).await, Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_uploads_of_one_promised_digest_do_not_collide() {
    let world = World::start(Backend::S3s).await;
    let stalled = Stalled::at(Step::Publishing, &world);
    let digest = sha256(b"twice");
    let (first, tags) = stalled.promise(&world, b"twice", &digest).await;
    stalled.promise(&world, b"twice", &digest).await;
    // A third one is finished while the others are open.
    assert_eq!(world.upload(b"twice").await, digest);
    stalled.go_on().await;
    let mut closed = stalled.service.promises_closed();
    while !stalled.service.promised_to(&alice()).await.unwrap().is_empty() {
        closed.changed().await.unwrap();
    }
    assert_eq!(world.download(&digest).await, b"twice");
    world.complete(&first, &digest, &tags).await.unwrap();
    world.assert_nothing_unfinished().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_with_a_statement_is_promised_with_the_size_that_was_stated() {
    let world = World::start(Backend::S3s).await;
    let stalled = Stalled::at(Step::Joining, &world);
    let upload = world.initiate().await;
    let tags = [world.send(&upload, 1, b"stated").await];
    let digest = sha256(b"stated");
    let proof = Some(ContentProof { size: 6 });
    let completed = stalled
        .service
        .complete(&alice(), &upload.upload_id, &digest, &tags, proof)
        .await
        .unwrap();
    assert_eq!((completed.size, completed.is_promised), (6, true));
    stalled.go_on().await;
    assert_eq!(world.size_of(&digest).await, Some(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hashes_promises_nothing() {
    let world = World::start(Backend::Filesystem).await;
    let stalled = Stalled::at(Step::Publishing, &world);
    let upload = world.initiate().await;
    let tags = [world.send(&upload, 1, b"hashed").await];
    let digest = sha256(b"hashed");
    let completing = tokio::spawn({
        let (service, digest) = (stalled.service.clone(), digest.clone());
        async move {
            service
                .complete(&alice(), &upload.upload_id, &digest, &tags, None)
                .await
        }
    });
    stalled.store.arrived().await;
    assert_eq!(stalled.service.stat(Some(&alice()), &digest).await.unwrap(), None);
    assert!(!completing.is_finished());
    stalled.store.go_on();
    let completed = completing.await.unwrap().unwrap();
    assert_eq!((completed.size, completed.is_promised), (6, false));
}

#[tokio::test]
async fn only_a_running_upload_is_promised_and_only_within_the_limits() {
    let world = World::start(Backend::S3s).await;
    let limits = PromiseLimits {
        per_account: 2,
        in_all: 3,
    };
    let promise = |upload: &Initiated| Promise {
        upload_id: upload.upload_id.clone(),
        owner: alice(),
        digest: sha256(b"x"),
        size: 1,
        parts: Vec::new(),
        vouched: Some(ContentProof { size: 1 }),
        promised_at: Utc.timestamp_millis_opt(1_000).unwrap(),
    };
    let uploads = world.uploads();
    let first = world.initiate().await;
    assert!(uploads.promise(&promise(&first), limits).await.unwrap());
    assert!(uploads.promise(&promise(&first), limits).await.unwrap());
    let open = uploads.promise_of(&first.upload_id).await.unwrap();
    assert_eq!(open, Some(promise(&first)));
    let second = world.initiate().await;
    assert!(uploads.promise(&promise(&second), limits).await.unwrap());
    let third = world.initiate().await;
    assert!(!uploads.promise(&promise(&third), limits).await.unwrap());
    uploads.remove(&first.upload_id).await.unwrap();
    assert_eq!(uploads.promise_of(&first.upload_id).await.unwrap(), None);
    assert!(!uploads.promise(&promise(&first), limits).await.unwrap());
    assert_eq!(
        uploads.promised_uploads().await.unwrap(),
        std::slice::from_ref(&second.upload_id)
    );
}
