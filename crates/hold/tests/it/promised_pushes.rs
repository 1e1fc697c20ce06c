//! A push over HTTP to a hold on an S3 store that takes its time: what the uploader hears meanwhile, and when the hold records it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::crypto::Curve;
use atcr_atproto::syntax::Did;

use atcr_hold::config::{HoldConfig, TierSetting};
use atcr_oci::{Algorithm, Digest};
use atcr_server::Secret;
use axum::extract::Request;
use axum::http::Method as HttpMethod;
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use axum::{Json, Router};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};
use crate::object_store::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, Serving, s3s_router};

const COMPLETE: &str = "io.atcr.hold.completeUpload";
const NOTIFY: &str = "io.atcr.hold.notifyManifest";

/// An S3 service that reads no upload back until it is told to go on.
struct SlowS3 {
    serving: Serving,
    endpoint: String,
    open: watch::Sender<bool>,
    _folder: TempDir,
}

impl SlowS3 {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a bucket");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let open = watch::Sender::new(false);
        let gate = open.clone();
        let router = s3s_router(folder.path()).layer(from_fn(move |request: Request, next: Next| {
            let mut open = gate.subscribe();
            async move {
                let reads_an_upload = request.method() == HttpMethod::GET
                    && request.uri().path().contains("/uploads/temp-")
                    && request.headers().contains_key("range");
                if reads_an_upload {
                    open.wait_for(|open| *open).await.expect("the test");
                }
                next.run(request).await
            }
        }));
        Self {
            serving: Serving::start(&listener, router),
            endpoint: format!("http://{addr}"),
            open,
            _folder: folder,
        }
    }

    async fn hold(&self) -> TestHold {
        self.hold_with(|_| ()).await
    }

    async fn hold_with(&self, change: impl FnOnce(&mut HoldConfig)) -> TestHold {
        TestHold::start_with(Setup::default(), |config| {
            change(config);
            BUCKET.clone_into(&mut config.storage.bucket);
            config.storage.endpoint.clone_from(&self.endpoint);
            config.storage.access_key = Secret::new(ACCESS_KEY);
            config.storage.secret_key = Secret::new(SECRET_KEY);
        })
        .await
    }

    fn go_on(&self) {
        self.open.send_replace(true);
    }
}

fn notice(owner: &Account, layers: &[(&Digest, u64)]) -> Value {
    notice_of(b"the manifest", owner, layers)
}

fn notice_of(manifest: &[u8], owner: &Account, layers: &[(&Digest, u64)]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(digest, size)| json!({ "digest": digest, "size": size, "mediaType": "application/x-layer" }))
        .collect();
    json!({
        "repository": "app",
        "userDid": owner.did,
        "manifestDigest": Digest::of(Algorithm::Sha256, manifest),
        "operation": "push",
        "manifest": { "layers": layers },
    })
}

/// Completes an upload of `bytes` as `digest`.
async fn complete(hold: &TestHold, bytes: &[u8], digest: &Digest) -> Value {
    let mut input = hold.send_blob(&hold.captain, bytes).await;
    input["digest"] = json!(digest);
    hold.call(COMPLETE, Some(&hold.captain), &input).await.ok();
    input
}

async fn head(hold: &TestHold, caller: &Account, digest: &Digest) -> (StatusCode, Option<u64>) {
    let path = format!("/xrpc/com.atproto.sync.getBlob?cid={digest}");
    let answer = hold
        .request(Method::HEAD, &path)
        .bearer_auth(hold.token(caller))
        .send()
        .await
        .expect("an answer");
    let length = answer.headers().get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    (answer.status(), length)
}

async fn digests(hold: &TestHold, collection: &str) -> Vec<Value> {
    let page = hold
        .query(&format!(
            "com.atproto.repo.listRecords?repo={}&collection={collection}",
            hold.did()
        ))
        .await
        .ok();
    let records = page["records"].as_array().expect("records");
    records
        .iter()
        .map(|record| record["value"]["digest"].clone())
        .collect()
}

#[tokio::test]
async fn a_push_of_promised_layers_beyond_the_limit_is_refused_with_their_true_size() {
    let s3 = SlowS3::start();
    let hold = s3
        .hold_with(|config| {
            config.quota.tiers = vec![TierSetting {
                name: "deckhand".to_owned(),
                quota: "5".to_owned(),
                ..TierSetting::default()
            }];
        })
        .await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    for (bytes, is_taken) in [(b"6bytes".as_slice(), false), (b"five5", true)] {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let mut input = hold.send_blob(&sailor, bytes).await;
        input["digest"] = json!(digest);
        hold.call(COMPLETE, Some(&sailor), &input).await.ok();
        // What is claimed does not count.
        let answer = hold
            .call(NOTIFY, Some(&sailor), &notice(&sailor, &[(&digest, 1)]))
            .await;
        if is_taken {
            answer.ok();
        } else {
            assert_eq!(answer.error(), (403, "QuotaExceeded"));
        }
    }
    s3.go_on();
    assert_eq!(recorded_layers(&hold).await.len(), 1);
    hold.stop().await;
    s3.serving.stop().await;
}

#[tokio::test]
async fn pushes_that_wait_for_layers_take_their_room_together() {
    let s3 = SlowS3::start();
    let hold = s3
        .hold_with(|config| {
            config.quota.tiers = vec![TierSetting {
                name: "deckhand".to_owned(),
                quota: "5".to_owned(),
                ..TierSetting::default()
            }];
        })
        .await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    s3.go_on();
    let stored = hold.put_blob(&hold.captain, b"five5").await;
    s3.open.send_replace(false);
    for (bytes, is_taken) in [(b"four".as_slice(), true), (b"two", false), (b"1", true)] {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let mut input = hold.send_blob(&sailor, bytes).await;
        input["digest"] = json!(digest);
        hold.call(COMPLETE, Some(&sailor), &input).await.ok();
        let notice = notice_of(bytes, &sailor, &[(&digest, 1)]);
        let answer = hold.call(NOTIFY, Some(&sailor), &notice).await;
        if is_taken {
            answer.ok();
        } else {
            assert_eq!(answer.error(), (403, "QuotaExceeded"));
        }
    }
    // A push that waits for nothing finds that room taken as well.
    let notice = notice_of(b"x", &sailor, &[(&stored, 1)]);
    let answer = hold.call(NOTIFY, Some(&sailor), &notice).await;
    assert_eq!(answer.error(), (403, "QuotaExceeded"));
    s3.go_on();
    hold.stop().await;
    s3.serving.stop().await;
}

/// Waits until the push is counted, which happens once its layers are recorded.
async fn recorded_layers(hold: &TestHold) -> Vec<Value> {
    loop {
        hold.hold.counts().publish().await.expect("published");
        if !digests(hold, "io.atcr.hold.stats").await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    digests(hold, "io.atcr.hold.layer").await
}

#[tokio::test]
async fn a_push_with_a_promised_layer_is_recorded_when_the_layer_is_there_also_after_a_restart() {
    let s3 = SlowS3::start();
    let hold = s3.hold().await;
    let other = hold.crew("other", &["blob:read", "blob:write"]).await;
    let layer = Digest::of(Algorithm::Sha256, b"a large layer");
    let input = complete(&hold, b"a large layer", &layer).await;

    assert_eq!(
        head(&hold, &hold.captain, &layer).await,
        (StatusCode::OK, Some(13))
    );
    assert_eq!(head(&hold, &other, &layer).await.0, StatusCode::NOT_FOUND);
    let again = hold.call(COMPLETE, Some(&hold.captain), &input).await.ok();
    assert_eq!(again["status"], "completed");
    let told = hold
        .call(
            NOTIFY,
            Some(&hold.captain),
            &notice(&hold.captain, &[(&layer, 13)]),
        )
        .await
        .ok();
    assert_eq!(
        (&told["success"], &told["layersCreated"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(digests(&hold, "io.atcr.hold.layer").await, Vec::<Value>::new());

    let hold = hold.restart(|_| ()).await;
    assert_eq!(
        head(&hold, &hold.captain, &layer).await,
        (StatusCode::OK, Some(13))
    );
    assert_eq!(head(&hold, &other, &layer).await.0, StatusCode::NOT_FOUND);
    s3.go_on();
    assert_eq!(recorded_layers(&hold).await, [json!(layer)]);
    assert_eq!(head(&hold, &other, &layer).await, (StatusCode::OK, Some(13)));
    let url = Answer::of(
        hold.get(&format!("/xrpc/com.atproto.sync.getBlob?cid={layer}&method=GET"))
            .bearer_auth(hold.token(&other)),
    )
    .await
    .ok();
    assert_eq!(
        hold.follow(url["url"].as_str().expect("a URL")).await,
        b"a large layer"
    );
    hold.stop().await;
    s3.serving.stop().await;
}

#[tokio::test]
async fn a_layer_whose_promise_is_broken_is_not_recorded() {
    let s3 = SlowS3::start();
    let hold = s3.hold().await;
    let layer = Digest::of(Algorithm::Sha256, b"what was promised");
    complete(&hold, b"what was sent", &layer).await;
    assert_eq!(
        head(&hold, &hold.captain, &layer).await,
        (StatusCode::OK, Some(13))
    );
    hold.call(
        NOTIFY,
        Some(&hold.captain),
        &notice(&hold.captain, &[(&layer, 13)]),
    )
    .await
    .ok();
    s3.go_on();
    assert_eq!(recorded_layers(&hold).await, Vec::<Value>::new());
    assert_eq!(head(&hold, &hold.captain, &layer).await.0, StatusCode::NOT_FOUND);

    complete(&hold, b"what was promised", &layer).await;
    assert_eq!(
        head(&hold, &hold.captain, &layer).await,
        (StatusCode::OK, Some(17))
    );
    hold.stop().await;
    s3.serving.stop().await;
}

/// `atcr-hold serve` as a process. Killed with this value.
struct HoldProcess {
    process: Child,
    addr: SocketAddr,
}

impl HoldProcess {
    /// Starts it, public, and waits until it is ready.
    async fn start(addr: SocketAddr, data: &Path, s3: &SlowS3, captain: &Did, directory: &str) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_atcr-hold"))
            .arg("serve")
            .env_clear()
            .env("HOLD_SERVER_ADDR", addr.to_string())
            .env("HOLD_SERVER_PUBLIC_URL", format!("http://{addr}"))
            .env("HOLD_SERVER_TEST_MODE", "True")
            .env("HOLD_SERVER_PUBLIC", "True")
            .env("HOLD_REGISTRATION_OWNER_DID", captain.as_str())
            .env("HOLD_DATABASE_PATH", data)
            .env("HOLD_DATABASE_PLC_DIRECTORY_URL", directory)
            .env("HOLD_STORAGE_BUCKET", BUCKET)
            .env("HOLD_STORAGE_ENDPOINT", &s3.endpoint)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary runs");
        let hold = Self { process, addr };
        while hold.ask(Method::GET, "/livez").send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        hold
    }

    fn did(&self) -> Did {
        let did = format!("did:web:{}", self.addr.to_string().replace(':', "%3A"));
        did.parse().expect("a DID")
    }

    fn ask(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.request(method, format!("http://{}{path}", self.addr))
    }

    fn ask_as(&self, caller: &Account, method: Method, path: &str) -> reqwest::RequestBuilder {
        let lxm = Some("com.atproto.repo.getRecord");
        let token = caller.token(&self.did(), lxm, SystemClock.now());
        self.ask(method, path).bearer_auth(token)
    }

    async fn call(&self, caller: &Account, nsid: &str, input: &Value) -> Value {
        let request = self.ask_as(caller, Method::POST, &format!("/xrpc/{nsid}"));
        Answer::of(request.json(input)).await.ok()
    }
}

impl Drop for HoldProcess {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_is_killed_keeps_its_promise_when_it_runs_again() {
    let s3 = SlowS3::start();
    let captain = Account::elsewhere("did:plc:captaincaptaincaptaincap", Curve::K256);
    let document = captain.document();
    let directory = Router::new().route("/{did}", get(move || async move { Json(document) }));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let directory_url = format!("http://{}", listener.local_addr().expect("an address"));
    let directory = Serving::start(&listener, directory);
    let addr = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");

    let hold = HoldProcess::start(addr, &data, &s3, &captain.did, &directory_url).await;
    let begin = json!({ "digest": "uploads/temp-1" });
    let begun = hold.call(&captain, "io.atcr.hold.initiateUpload", &begin).await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let part = client.put(begun["part"]["url"].as_str().expect("a URL"));
    let sent = part.body("acknowledged").send().await.expect("an answer");
    let digest = Digest::of(Algorithm::Sha256, b"acknowledged");
    let parts = json!([{ "partNumber": 1, "etag": sent.headers()["etag"].to_str().expect("text") }]);
    let input = json!({ "uploadId": begun["uploadId"], "digest": digest, "parts": parts });
    hold.call(&captain, COMPLETE, &input).await;
    drop(hold);

    let hold = HoldProcess::start(addr, &data, &s3, &captain.did, &directory_url).await;
    let path = format!("/xrpc/com.atproto.sync.getBlob?cid={digest}");
    let told = hold
        .ask_as(&captain, Method::HEAD, &path)
        .send()
        .await
        .expect("an answer");
    assert_eq!(told.status(), StatusCode::OK);
    assert_eq!(told.headers()["content-length"], "12");
    let others = hold.ask(Method::GET, &path).send().await.expect("an answer");
    assert_eq!(others.status(), StatusCode::NOT_FOUND);
    s3.go_on();
    // Waits for the promise.
    let read = hold.ask_as(&captain, Method::GET, &format!("{path}&method=GET"));
    let url = Answer::of(read).await.ok();
    let bytes = client
        .get(url["url"].as_str().expect("a URL"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(bytes.bytes().await.expect("a body"), "acknowledged");
    let others = hold.ask(Method::HEAD, &path).send().await.expect("an answer");
    assert_eq!(others.status(), StatusCode::OK);
    drop((hold, client));
    directory.stop().await;
    s3.serving.stop().await;
}
