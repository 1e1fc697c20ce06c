//! Jobs for scanners and their results, over real sockets, with scanners played by hand.

mod by_hand;
mod documents;
mod failures;
mod intake;
mod losses;
mod original;
mod queue;
mod readers;
mod rematches;
mod table;

use std::time::Duration;

use atcr_hold::settings::HoldSettings;
use atcr_oci::{Algorithm, Digest};
use atcr_scan_protocol::{HoldMessage, PATH, ScanJob};
use atcr_server::Secret;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::identities::Account;
use crate::harness::{Answer, Setup, TestHold};

/// How long something may take that comes at once.
const PATIENCE: Duration = Duration::from_secs(20);

const SECRET: &str = "a secret for scanners";
const SPDX: &str = r#"{"spdxVersion":"SPDX-2.3","name":"app"}"#;
const REPORT: &str = r#"{"matches":[]}"#;

async fn start(public: bool) -> TestHold {
    let setup = Setup {
        public,
        ..Setup::default()
    };
    TestHold::start_with(setup, |config| config.scanner.secret = Secret::new(SECRET)).await
}

fn digest_of(name: &str) -> Digest {
    Digest::of(Algorithm::Sha256, name.as_bytes())
}

/// Tells the hold of a push of an image by the captain.
async fn push(hold: &TestHold, name: &str) -> Digest {
    push_by(hold, &hold.captain, name).await
}

async fn push_by(hold: &TestHold, owner: &Account, name: &str) -> Digest {
    let layer = json!({
        "digest": digest_of("layer"), "size": 5, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
    });
    notify(hold, owner, name, json!({ "layers": [layer] })).await
}

async fn notify(hold: &TestHold, owner: &Account, name: &str, manifest: Value) -> Digest {
    let digest = digest_of(name);
    let input = json!({
        "repository": "app", "userDid": owner.did, "manifestDigest": digest, "operation": "push", "tag": "1.0",
        "manifest": manifest,
    });
    hold.call("io.atcr.hold.notifyManifest", Some(owner), &input)
        .await
        .ok();
    digest
}

/// What a crew member who may read is told.
async fn told(hold: &TestHold, digest: &Digest) -> Value {
    let token = hold.token(&hold.captain);
    Answer::of(hold.get(&format!("/scans/{digest}")).bearer_auth(token))
        .await
        .ok()
}

async fn job_state(hold: &TestHold, digest: &Digest) -> String {
    let view = told(hold, digest).await;
    view["job"]["state"].as_str().unwrap_or("none").to_owned()
}

async fn scan_record(hold: &TestHold, digest: &Digest) -> Option<Value> {
    hold.hold.scanning().publish().await.expect("published");
    let repo = hold.did();
    let path = format!(
        "com.atproto.repo.getRecord?repo={repo}&collection=io.atcr.hold.scan&rkey={}",
        digest.hex()
    );
    let answer = hold.query(&path).await;
    answer.status.is_success().then_some(answer.body)
}

/// A scanner, played by hand.
struct FakeScanner {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl FakeScanner {
    /// One of ours.
    async fn ours(hold: &TestHold, workers: u16) -> Self {
        Self::connect(hold, &format!("?workers={workers}"), Some(SECRET))
            .await
            .expect("connected")
    }

    /// An original one.
    async fn original(hold: &TestHold) -> Self {
        Self::connect(hold, &format!("?secret={}", SECRET.replace(' ', "%20")), None)
            .await
            .expect("connected")
    }

    async fn connect(hold: &TestHold, query: &str, header: Option<&str>) -> Result<Self, Box<Error>> {
        let url = format!("ws://{}{PATH}{query}", hold.settings.listen);
        let mut request = url.into_client_request().expect("a request");
        if let Some(secret) = header {
            let secret = secret.parse().expect("a header");
            request.headers_mut().insert("x-scanner-secret", secret);
        }
        let (socket, _) = connect_async(request).await.map_err(Box::new)?;
        Ok(Self { socket })
    }

    /// The next frame. What does not come within this long does not come.
    async fn frame(&mut self) -> Option<Result<Message, Error>> {
        let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        frame.expect("a word of the hold")
    }

    /// The next message as it is.
    async fn hear(&mut self) -> Value {
        loop {
            match self.frame().await.expect("not gone").expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    async fn job(&mut self) -> ScanJob {
        let text = self.hear().await.to_string();
        match HoldMessage::decode(&text).expect("a message") {
            HoldMessage::Job(job) => *job,
            HoldMessage::Unknown => panic!("not a job: {text}"),
        }
    }

    /// Says something and waits until the hold has dealt with it: a pong comes after what was said before the ping. Jobs that come
    /// meanwhile are returned.
    async fn say(&mut self, message: Value) -> Vec<ScanJob> {
        let message = Message::text(message.to_string());
        self.socket.send(message).await.expect("sent");
        self.settle().await
    }

    async fn settle(&mut self) -> Vec<ScanJob> {
        let mut jobs = Vec::new();
        self.socket
            .send(Message::Ping("here".into()))
            .await
            .expect("sent");
        loop {
            match self.frame().await.expect("not gone").expect("a message") {
                Message::Pong(_) => return jobs,
                Message::Text(text) => {
                    if let HoldMessage::Job(job) = HoldMessage::decode(&text).expect("a message") {
                        jobs.push(*job);
                    }
                }
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Says something that ends the connection; the code of the close.
    async fn provoke(&mut self, message: String) -> Option<CloseCode> {
        // A hold that has hung up already is what is looked for.
        let _ = self.socket.send(Message::text(message)).await;
        loop {
            match self.frame().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Hangs up, and waits until the hold has noticed.
    async fn leave(mut self) {
        self.socket.close(None).await.expect("closed");
        while let Some(Ok(_)) = self.frame().await {}
    }
}

/// A result of an original scanner.
fn original_result(digest: &Digest, high: u64) -> Value {
    json!({
        "type": "scan_result", "digest": digest, "scannerVersion": "atcr-scanner-v1.0.0",
        "summary": { "critical": 0, "high": high, "medium": 0, "low": 0, "total": high },
        "sbom": { "$bytes": base64(SPDX) }, "vulnReport": base64(REPORT),
    })
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A result of ours without documents.
fn failure(job: &ScanJob, class: &str) -> Value {
    json!({
        "type": "scan_result", "seq": job.seq, "digest": job.digest, "state": "failed", "errorClass": class,
        "error": "it did not work",
    })
}

/// Lost and failed jobs are due at once.
fn without_rests(settings: &mut HoldSettings) {
    settings.scanning.rests = [Duration::ZERO; 4];
}

/// Lapsed leases have ended, and what is due is ready.
async fn look_after(hold: &TestHold) {
    for _ in 0..2 {
        hold.hold.scanning().look_after().await.unwrap();
    }
}

fn quick(settings: &mut HoldSettings) {
    without_rests(settings);
    settings.scanning.lease = Duration::ZERO;
    settings.scanning.original_lease = Duration::ZERO;
}
