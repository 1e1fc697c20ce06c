//! What only the filesystem store does: parts as streams, in order, into one file.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use atcr_hold::adapters::filesystem::FilesystemStore;
use atcr_hold::blobs::{BlobError, DownloadMethod, ObjectKey, PartTag, PartUrl, StoreError};
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, stream};
use http::{StatusCode, header};
use serde_json::Value;
use tokio::sync::mpsc;

use super::panicking_uploads::PanickingUploads;
use super::world::{Backend, World, alice, noise, sha256};

async fn world() -> World {
    World::start(Backend::Filesystem).await
}

async fn refusal(answer: reqwest::Response) -> (StatusCode, String, String) {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    (status, text("error"), text("message"))
}

/// The request line and head of a part of `declared` bytes, and the first of its bytes; the connection stays open.
fn begin_part(world: &World, part: &PartUrl, declared: usize, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(world.listener.local_addr().unwrap()).unwrap();
    let target = &part.url[url::Position::BeforePath..];
    write!(
        connection,
        "PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {declared}\r\n\r\n"
    )
    .unwrap();
    connection.write_all(bytes).unwrap();
    connection
}

#[tokio::test]
async fn a_part_may_be_of_unknown_length() {
    let world = world().await;
    let bytes = noise(3_000_000, 20);
    let upload = world.initiate().await;
    assert!(upload.store.streaming && upload.store.hashes);
    // Pieces of all sizes, as a client's network cuts them.
    let mut rest = Bytes::from(bytes.clone());
    let mut pieces = Vec::new();
    for len in [1, 2, 1000, 65_536, 524_288, 524_289].into_iter().cycle() {
        if rest.len() <= len {
            break;
        }
        pieces.push(rest.split_to(len));
    }
    pieces.push(rest);
    let body = reqwest::Body::wrap_stream(stream::iter(pieces).map(Ok::<_, std::io::Error>));
    let answer = world.put(&upload.first_part, body).await;
    let tag = PartTag {
        part_number: 1,
        etag: answer.headers()[header::ETAG].to_str().unwrap().to_owned(),
    };
    let digest = sha256(&bytes);
    world.complete(&upload, &digest, &[tag]).await.unwrap();
    assert_eq!(world.download(&digest).await, bytes);
}

#[tokio::test]
async fn a_part_out_of_order_is_refused_in_words() {
    let world = world().await;
    let upload = world.initiate().await;
    let second = world.part_url(&upload, 2).await;
    let (status, error, message) = refusal(world.put(&second, "two").await).await;
    assert_eq!(
        (status, error.as_str()),
        (StatusCode::BAD_REQUEST, "InvalidPartNumber")
    );
    assert_eq!(message, "part 2 is not the next one; send part 1");

    let first = world.send(&upload, 1, b"one").await;
    let second = world.send(&upload, 2, b"two").await;
    let third = world.send(&upload, 3, b"").await;
    // Part 1 is closed: two more have been built on it.
    let (status, _, message) = refusal(world.put(&upload.first_part, "uno").await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(message, "part 1 is not the next one; send part 4");
    let too_few = world
        .complete(&upload, &sha256(b"one"), std::slice::from_ref(&first))
        .await;
    assert!(
        matches!(too_few, Err(BlobError::MissingParts { .. })),
        "{too_few:?}"
    );
    let digest = sha256(b"onetwo");
    world
        .complete(&upload, &digest, &[first, second, third])
        .await
        .unwrap();
    assert_eq!(world.download(&digest).await, b"onetwo");
}

#[tokio::test]
async fn a_part_that_breaks_off_leaves_the_parts_before_it() {
    let mut world = world().await;
    let bytes = noise(2_000_000, 21);
    let (head, tail) = bytes.split_at(900_000);
    let upload = world.initiate().await;
    let first = world.send(&upload, 1, head).await;
    let second = world.part_url(&upload, 2).await;
    // More than one piece arrives and is written, then the client is gone.
    drop(begin_part(&world, &second, tail.len(), &noise(1_000_000, 22)));
    world.restart().await;
    let second = world.send(&upload, 2, tail).await;
    // The last part is sent again, and that breaks off, too: now it must be sent.
    let url = world.part_url(&upload, 2).await;
    drop(begin_part(&world, &url, tail.len(), &noise(700_000, 23)));
    world.restart().await;
    let digest = sha256(&bytes);
    let parts = [first, second];
    match world.complete(&upload, &digest, &parts).await {
        // The connection was gone before the request was read: the part stands as it was.
        Ok(completed) => assert_eq!(completed.size, 2_000_000),
        Err(BlobError::MissingParts { .. }) => {
            let second = world.send(&upload, 2, tail).await;
            assert_eq!(second, parts[1]);
            world.complete(&upload, &digest, &parts).await.unwrap();
        }
        Err(other) => panic!("{other:?}"),
    }
    assert_eq!(world.download(&digest).await, bytes);
}

#[tokio::test]
async fn a_part_that_hangs_gives_way_to_its_repetition() {
    let world = world().await;
    let upload = world.initiate().await;
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let hanging = stream::unfold(receiver, |mut receiver| async {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(bytes), receiver))
    });
    let body = reqwest::Body::wrap_stream(hanging);
    let first_try = world.http.put(upload.first_part.url.clone()).body(body).send();
    let first_try = tokio::spawn(first_try);
    // More than the sockets between can hold: when it is taken, the store has begun to read.
    let piece = Bytes::from(noise(1024 * 1024, 26));
    for _ in 0..32 {
        sender.send(piece.clone()).await.unwrap();
    }
    let tag = world.send(&upload, 1, b"good").await;
    // The first is told, unless its connection was closed under it.
    if let Ok(answer) = first_try.await.unwrap() {
        assert_eq!(answer.status(), StatusCode::CONFLICT);
    }
    let digest = sha256(b"good");
    world.complete(&upload, &digest, &[tag]).await.unwrap();
    assert_eq!(world.download(&digest).await, b"good");
}

#[tokio::test]
async fn after_a_power_failure_the_file_is_read_back() {
    let mut world = world().await;
    for damage in ["none", "other bytes", "bytes are missing"] {
        let bytes = noise(300_000, 24 + damage.len() as u64);
        let digest = sha256(&bytes);
        let upload = world.initiate().await;
        let first = world.send(&upload, 1, &bytes[..200_000]).await;
        let folder = {
            let unfinished = world.store.list_unfinished(2).await.unwrap();
            let data = world.object_path(&unfinished[0].upload.key);
            data.parent().unwrap().to_owned()
        };
        // The machine starts anew: the parts are known, but the bytes may not have reached the disk.
        let log = std::fs::read_to_string(folder.join("parts")).unwrap();
        let boot = log.lines().next().unwrap().rsplit(' ').next().unwrap();
        std::fs::write(folder.join("parts"), log.replace(boot, "another-boot")).unwrap();
        if damage != "none" {
            let data = std::fs::OpenOptions::new()
                .write(true)
                .open(folder.join("data"))
                .unwrap();
            data.set_len(100_000).unwrap();
            if damage == "other bytes" {
                data.set_len(200_000).unwrap();
            }
        }
        world.restart().await;
        if damage == "bytes are missing" {
            // Said before the rest is sent.
            let refused = world
                .put(&world.part_url(&upload, 2).await, b"rest".to_vec())
                .await;
            assert_eq!(refused.status(), StatusCode::NOT_FOUND);
            world.service.abort(&alice(), &upload.upload_id).await.unwrap();
            continue;
        }
        let second = world.send(&upload, 2, &bytes[200_000..]).await;
        let outcome = world.complete(&upload, &digest, &[first, second]).await;
        if damage == "other bytes" {
            assert!(
                matches!(outcome, Err(BlobError::DigestMismatch { .. })),
                "{outcome:?}"
            );
            assert_eq!(world.size_of(&digest).await, None);
        } else {
            outcome.unwrap();
            assert_eq!(world.download(&digest).await, bytes);
        }
    }
    world.assert_nothing_unfinished().await;
}

#[tokio::test]
async fn a_last_part_sent_again_after_a_failed_completion_undoes_what_was_assembled() {
    let world = world().await;
    let upload = world.initiate().await;
    let first = world.send(&upload, 1, b"first, ").await;
    let second = world.send(&upload, 2, b"second").await;
    let unfinished = world.store.list_unfinished(1).await.unwrap().remove(0).upload;
    let parts = [first.clone(), second.clone()];
    let assembled = world.store.assemble(&unfinished, &parts).await.unwrap();
    // Nothing more is taken, except the last part again.
    let third = world
        .put(&world.part_url(&upload, 3).await, b"third".to_vec())
        .await;
    assert_eq!(third.status(), StatusCode::CONFLICT);
    let other = world.send(&upload, 2, b"other!").await;

    let key = ObjectKey::blob(&sha256(b"first, second"));
    let published = world.store.publish(&unfinished, &assembled, &key).await;
    assert!(
        matches!(published, Err(StoreError::UnknownUpload)),
        "{published:?}"
    );
    let digest = sha256(b"first, other!");
    world.complete(&upload, &digest, &[first, other]).await.unwrap();
    assert_eq!(world.download(&digest).await, b"first, other!");
    assert_eq!(world.store.stat(&key).await.unwrap(), None);
    world.assert_nothing_unfinished().await;
}

#[tokio::test]
async fn what_cannot_be_swept_does_not_keep_the_rest() {
    let world = world().await;
    let damaged = world.initiate().await;
    world.damage_row(&damaged).await;
    world.clock.shift(TimeDelta::minutes(1));
    world.initiate().await;
    world.clock.shift(TimeDelta::hours(25));
    let swept = world.service.sweep_expired().await.unwrap();
    assert_eq!((swept.uploads, swept.failed), (1, 1));
    // It is said again, and nothing is done twice.
    let again = world.service.sweep_expired().await.unwrap();
    assert_eq!((again.uploads, again.failed), (0, 1));
}

#[tokio::test]
async fn d2_an_upload_that_makes_the_sweep_panic_does_not_keep_the_rest() {
    let world = world().await;
    let poisoned = world.initiate().await;
    world.clock.shift(TimeDelta::minutes(1));
    world.initiate().await;
    world.clock.shift(TimeDelta::hours(25));
    let uploads = Arc::new(PanickingUploads::new(world.uploads(), &poisoned.upload_id));
    let service = world.service_with(uploads.clone());
    let swept = service.sweep_expired().await.unwrap();
    assert_eq!((swept.uploads, swept.failed), (1, 1));
    // After some sweeps it is set aside, and not tried again.
    for _ in 0..20 {
        let swept = service.sweep_expired().await.unwrap();
        assert_eq!((swept.uploads, swept.failed), (0, 1));
    }
    assert_eq!(uploads.panics(), 10);
}

#[tokio::test]
async fn an_object_under_the_final_key_is_kept_whatever_it_is() {
    let world = world().await;
    let digest = sha256(b"content");
    let path = world.object_path(&ObjectKey::blob(&digest));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"who knows").unwrap();
    world.upload(b"content").await;
    assert_eq!(std::fs::read(&path).unwrap(), b"who knows");
    world.assert_nothing_unfinished().await;
}

#[tokio::test]
async fn downloads_answer_conditions_and_bad_ranges() {
    let world = world().await;
    let digest = world.upload(b"0123456789").await;
    let url = world.download_url(&digest, DownloadMethod::Get).await;
    let get = |name: http::HeaderName, value: &str| {
        let request = world.http.get(url.clone()).header(name, value);
        async move { request.send().await.unwrap() }
    };

    let answer = get(header::RANGE, "bytes=10-").await;
    assert_eq!(answer.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(answer.headers()[header::CONTENT_RANGE], "bytes */10");

    let answer = get(header::RANGE, "bytes=4-5").await;
    assert_eq!(answer.headers()[header::CONTENT_RANGE], "bytes 4-5/10");
    assert_eq!(answer.headers()[header::CONTENT_LENGTH], "2");

    // Several ranges: a server may send everything.
    let answer = get(header::RANGE, "bytes=0-1,3-4").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::ACCEPT_RANGES], "bytes");
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/octet-stream");
    let etag = answer.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(etag, format!("\"{}\"", digest.hex()));
    assert_eq!(answer.headers()["docker-content-digest"], digest.as_str());
    assert_eq!(answer.bytes().await.unwrap(), "0123456789");

    let answer = get(header::IF_NONE_MATCH, &etag).await;
    assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);

    let stale = world
        .http
        .get(url.clone())
        .header(header::RANGE, "bytes=4-5")
        .header(header::IF_RANGE, "\"else\"");
    assert_eq!(stale.send().await.unwrap().status(), StatusCode::OK);

    // Whatever a client sends along by habit does not matter.
    let answer = get(header::AUTHORIZATION, "Bearer nonsense").await;
    assert_eq!(answer.status(), StatusCode::OK);

    // The hold's own objects are below the same folder, but not below its URLs.
    std::fs::remove_file(world.object_path(&ObjectKey::blob(&digest))).unwrap();
    let (status, error, _) = refusal(world.http.get(url).send().await.unwrap()).await;
    assert_eq!((status, error.as_str()), (StatusCode::NOT_FOUND, "BlobNotFound"));
}

#[tokio::test]
async fn large_downloads_are_whole() {
    let world = world().await;
    let bytes = noise(3 * 1024 * 1024 + 17, 25);
    let digest = world.upload(&bytes).await;
    assert_eq!(world.download(&digest).await, bytes);
    let url = world.download_url(&digest, DownloadMethod::Get).await;
    let request = world.http.get(url).header(header::RANGE, "bytes=524287-2000000");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), bytes[524_287..=2_000_000]);
}

#[tokio::test]
async fn a_folder_has_one_hold() {
    let world = world().await;
    let key = ObjectKey::upload(uuid::Uuid::nil());
    let root = world.object_path(&key).ancestors().nth(6).unwrap().to_owned();
    let second = FilesystemStore::open(&root, world.url(), world.clock.clone());
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
}

#[tokio::test]
async fn an_upload_that_is_gone_takes_no_part() {
    let world = world().await;
    let upload = world.initiate().await;
    world.service.abort(&alice(), &upload.upload_id).await.unwrap();
    let (status, error, _) = refusal(world.put(&upload.first_part, "late").await).await;
    assert_eq!(
        (status, error.as_str()),
        (StatusCode::NOT_FOUND, "InvalidUploadId")
    );
}
