//! Blobs of the hold's own records: uploaded, referred to, read, removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::lexicon::BlobRef;
use atcr_hold::adapters::filesystem::FilesystemStore;
use atcr_hold::blobs::ObjectKey;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tower::ServiceExt as _;

use crate::harness::{Answer, Setup, TestHold};

const PROFILE: &str = "sh.tangled.actor.profile";

async fn upload(hold: &TestHold, bytes: &[u8], media_type: &str) -> Answer {
    let nsid = "com.atproto.repo.uploadBlob";
    let request = hold
        .request(Method::POST, &format!("/xrpc/{nsid}"))
        .bearer_auth(hold.token_for(&hold.captain, nsid))
        .header("content-type", media_type)
        .body(bytes.to_vec());
    Answer::of(request).await
}

async fn put_profile(hold: &TestHold, avatar: &Value) -> Answer {
    let input = json!({
        "repo": hold.did(), "collection": PROFILE, "rkey": "self",
        "record": { "displayName": "A hold", "avatar": avatar },
    });
    hold.call("com.atproto.repo.putRecord", Some(&hold.captain), &input)
        .await
}

fn blob_path(hold: &TestHold, cid: &str) -> String {
    format!("/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}", hold.did())
}

async fn listed(hold: &TestHold) -> Value {
    hold.query(&format!("com.atproto.sync.listBlobs?did={}", hold.did()))
        .await
        .ok()["cids"]
        .clone()
}

#[tokio::test]
async fn blobs_are_listed_by_the_revision_of_the_records_that_refer_to_them() {
    let hold = TestHold::start(Setup::default()).await;
    let mut known = Vec::new();
    for (collection, picture) in [(PROFILE, "first"), ("app.bsky.actor.profile", "second")] {
        let blob = upload(&hold, picture.as_bytes(), "image/png").await.ok()["blob"].clone();
        let input = json!({
            "repo": hold.did(), "collection": collection, "rkey": "self", "record": { "avatar": blob },
        });
        hold.call("com.atproto.repo.putRecord", Some(&hold.captain), &input)
            .await
            .ok();
        known.push((blob["ref"]["$link"].clone(), hold.hold.repo().latest_commit().rev));
    }
    let [(first, of_first), (second, of_second)] = &known[..] else {
        panic!("{known:?}");
    };
    let since = async |rev: &str| {
        let query = format!("com.atproto.sync.listBlobs?did={}&since={rev}", hold.did());
        hold.query(&query).await
    };
    for _ in 0..2 {
        let all = since("2222222222222").await.ok()["cids"].clone();
        let all = all.as_array().expect("a list");
        assert!(
            all.len() == 2 && all.contains(first) && all.contains(second),
            "{all:?}"
        );
        assert_eq!(since(of_first.as_str()).await.ok()["cids"], json!([second]));
        assert_eq!(since(of_second.as_str()).await.ok(), json!({ "cids": [] }));
        // And when the records are in the snapshot.
        hold.hold.repo().write_snapshot().await.expect("written");
    }
    assert_eq!(since("yesterday").await.error(), (400, "InvalidRequest"));
    hold.stop().await;
}

#[tokio::test]
async fn readers_of_one_customer_leave_places_for_others() {
    let hold = TestHold::start(Setup::default()).await;
    let blob = upload(&hold, b"a picture", "image/png").await.ok()["blob"].clone();
    put_profile(&hold, &blob).await.ok();
    let path = blob_path(&hold, blob["ref"]["$link"].as_str().expect("a CID"));
    let read = async |peer: &str| {
        let peer: std::net::SocketAddr = peer.parse().expect("an address");
        let mut request = Request::get(&path).body(Body::empty()).expect("a request");
        request.extensions_mut().insert(ConnectInfo(peer));
        hold.hold.router().oneshot(request).await.expect("an answer")
    };
    let mut open = Vec::new();
    for number in 0..8 {
        let answer = read(&format!("[2001:db8:1:{number}::1]:1")).await;
        assert_eq!(answer.status(), 200, "{number}");
        open.push(answer);
    }
    let refused = read("[2001:db8:1:8::1]:1").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "60");
    assert_eq!(read("192.0.2.1:1").await.status(), 200);
    open.pop();
    assert_eq!(read("[2001:db8:1:8::1]:1").await.status(), 200);
    hold.stop().await;
}

#[tokio::test]
async fn a_blob_is_served_to_everyone_while_a_record_refers_to_it() {
    let hold = TestHold::start(Setup::default()).await;
    let picture = b"\x89PNG and so on";
    let uploaded = upload(&hold, picture, "image/PNG; q=1").await.ok();
    let reference = BlobRef::of(picture, "image/png");
    assert_eq!(uploaded, json!({ "blob": reference }));
    let cid = reference.cid.to_string();
    let unseen = Answer::of(hold.get(&blob_path(&hold, &cid))).await;
    assert_eq!(
        unseen.error(),
        (404, "BlobNotFound"),
        "no record refers to it yet"
    );
    assert_eq!(listed(&hold).await, json!([]));

    let written = put_profile(&hold, &uploaded["blob"]).await.ok();
    assert_eq!(written["validationStatus"], "unknown");
    // Also on this private hold.
    let answer = hold.get(&blob_path(&hold, &cid)).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "image/png");
    assert_eq!(answer.headers()["content-length"], picture.len().to_string());
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        answer.headers()["content-security-policy"],
        "default-src 'none'; sandbox"
    );
    assert_eq!(answer.bytes().await.expect("a body"), picture.as_slice());
    let head = hold
        .request(Method::HEAD, &blob_path(&hold, &cid))
        .send()
        .await
        .expect("an answer");
    assert_eq!(head.headers()["content-length"], picture.len().to_string());
    assert_eq!(listed(&hold).await, json!([cid]));
    let profile = format!("app.bsky.actor.getProfile?actor={}", hold.did());
    let profile = hold.query(&profile).await.ok();
    assert_eq!(profile["displayName"], "A hold");
    let avatar = profile["avatar"].as_str().expect("a URL");
    assert_eq!(hold.follow(avatar).await, picture);
    let profiles = format!("app.bsky.actor.getProfiles?actors=x.test&actors={}", hold.did());
    assert_eq!(hold.query(&profiles).await.ok(), json!({ "profiles": [profile] }));
    let other = hold.query("app.bsky.actor.getProfile?actor=x.test").await;
    assert_eq!(other.error(), (400, "InvalidRequest"));

    // The index has it from the records, too.
    let hold = hold.restart(|_| ()).await;
    std::fs::remove_file(hold.data_dir().join("repo/index.sqlite")).expect("removed");
    let hold = hold.restart(|_| ()).await;
    assert_eq!(listed(&hold).await, json!([cid]));

    let delete = json!({ "repo": hold.did(), "collection": PROFILE, "rkey": "self" });
    hold.call("com.atproto.repo.deleteRecord", Some(&hold.captain), &delete)
        .await
        .ok();
    assert_eq!(
        Answer::of(hold.get(&blob_path(&hold, &cid))).await.error(),
        (404, "BlobNotFound")
    );
    assert_eq!(listed(&hold).await, json!([]));
    hold.stop().await;
}

#[tokio::test]
async fn a_record_cannot_refer_to_what_was_not_uploaded() {
    let hold = TestHold::start(Setup::default()).await;
    let absent = json!(BlobRef::of(b"never sent", "image/png"));
    assert_eq!(put_profile(&hold, &absent).await.error(), (400, "InvalidRequest"));
    let uploaded = upload(&hold, b"a picture", "image/png").await.ok();
    let mut other_type = uploaded["blob"].clone();
    other_type["mimeType"] = json!("text/html");
    assert_eq!(
        put_profile(&hold, &other_type).await.error(),
        (400, "InvalidRequest")
    );
    put_profile(&hold, &uploaded["blob"]).await.ok();

    assert_eq!(
        upload(&hold, b"x", "no type").await.error(),
        (400, "InvalidRequest")
    );
    let nsid = "com.atproto.repo.uploadBlob";
    let endless = hold
        .request(Method::POST, &format!("/xrpc/{nsid}"))
        .bearer_auth(hold.token_for(&hold.captain, nsid))
        .body(reqwest::Body::wrap_stream(futures_util::stream::repeat_with(
            || Ok::<_, std::io::Error>(vec![0; 1 << 20]),
        )));
    assert_eq!(Answer::of(endless).await.error(), (413, "PayloadTooLarge"));
    let spooled = std::fs::read_dir(hold.data_dir().join("blob-uploads")).expect("a folder");
    assert_eq!(spooled.count(), 0, "nothing is left of uploads");
    hold.stop().await;
}

/// Where the store has what was uploaded.
fn object_of(hold: &TestHold, uploaded: &Value) -> PathBuf {
    let cid = uploaded["blob"]["ref"]["$link"]
        .as_str()
        .expect("a CID")
        .parse()
        .expect("a CID");
    hold.data_dir()
        .join("objects")
        .join(ObjectKey::atproto_blob(hold.did(), &cid).as_str())
}

#[tokio::test]
async fn what_a_record_refers_to_stays_although_the_index_could_not_be_told_of_the_record() {
    let hold = TestHold::start(Setup::default()).await;
    let blob = upload(&hold, b"a picture", "image/png").await.ok();
    let object = object_of(&hold, &blob);
    let index = hold.data_dir().join("repo/index.sqlite");
    let mut other = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(index))
        .await
        .expect("opened");
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .expect("locked");
    put_profile(&hold, &blob["blob"]).await.ok();
    // The sweep begins before the index fails.
    assert_eq!(hold.hold.repo().index_lag_batches(), 0);
    let later = hold.clock.now() + TimeDelta::hours(7);
    let blobs = hold.hold.repo_blobs();
    assert_eq!(blobs.sweep_as_of(later).await.expect("swept"), 0);
    assert_eq!(hold.hold.repo().index_lag_batches(), 1);
    assert!(object.is_file());
    assert_eq!(blobs.sweep_as_of(later).await.expect("swept"), 0);

    sqlx::query("COMMIT").execute(&mut other).await.expect("released");
    while hold.hold.repo().index_lag_batches() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(blobs.sweep_as_of(later).await.expect("swept"), 0);
    assert!(object.is_file());
    let delete = json!({ "repo": hold.did(), "collection": PROFILE, "rkey": "self" });
    hold.call("com.atproto.repo.deleteRecord", Some(&hold.captain), &delete)
        .await
        .ok();
    assert_eq!(blobs.sweep_as_of(later).await.expect("swept"), 1);
    assert!(!object.exists());
    hold.stop().await;
}

#[tokio::test]
async fn what_no_record_refers_to_is_removed_in_time() {
    let hold = TestHold::start(Setup::default()).await;
    let kept = upload(&hold, b"kept", "image/png").await.ok();
    put_profile(&hold, &kept["blob"]).await.ok();
    let lost = upload(&hold, b"lost", "image/png").await.ok();
    let (kept, lost) = (object_of(&hold, &kept), object_of(&hold, &lost));
    assert_eq!(
        hold.hold.repo_blobs().sweep().await.expect("swept"),
        0,
        "it is new"
    );
    assert!(kept.is_file() && lost.is_file());

    let later = hold.clock.now() + TimeDelta::hours(7);
    assert_eq!(hold.hold.repo_blobs().sweep_as_of(later).await.expect("swept"), 1);
    assert!(kept.is_file() && !lost.exists());
    assert_eq!(hold.hold.repo_blobs().sweep_as_of(later).await.expect("swept"), 0);
    hold.stop().await;
}

#[tokio::test]
async fn an_object_of_the_holds_own_is_stored_read_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = "http://127.0.0.1:1".parse().expect("a URL");
    let clock = Arc::new(atcr_atproto::clock::SystemClock);
    let store = FilesystemStore::open(&folder.path().join("objects"), url, clock).expect("a store");
    crate::object_store::own_objects(&store).await;
}
