//! What strangers can make the process hold in memory, measured on the real program.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use atcr_oci::{Algorithm, Digest, Manifest};
use atcr_test_support::fakes::{FakePds, Filler, PdsFault};
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Answer, PASSWORD, TestAppView, descriptor, sha256};

const APP: &str = "alice.test/app";
const MIB: u64 = 1024 * 1024;

/// The program, on the data of a [`TestAppView`] that has stopped.
struct Program {
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Program {
    async fn start(data: &Path, pds: &FakePds, hold: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(env!("CARGO_BIN_EXE_atcr-appview"))
            .arg("serve")
            .env("ATCR_SERVER_ADDR", format!("127.0.0.1:{port}"))
            .env("ATCR_SERVER_DATA_DIR", data.join("data"))
            .env("ATCR_SERVER_PLC_DIRECTORY_URL", pds.url())
            .env("ATCR_SERVER_HANDLE_RESOLVER_URL", pds.url())
            .env("ATCR_SERVER_DEFAULT_HOLD_DID", hold)
            .env("ATCR_SERVER_TEST_MODE", "true")
            .env("ATCR_INDEX_ENABLED", "false")
            .env("ATCR_LOG_LEVEL", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let program = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            client,
        };
        loop {
            let ready = program.client.get(format!("{}/livez", program.url)).send().await;
            if ready.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return program;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Bytes that the program has in memory: now, and at most so far.
    fn resident(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    async fn token(&self, handle: &str, name: &str) -> String {
        let scope = format!("repository:{name}:pull");
        let request = self.get("/auth/token").query(&[("scope", &scope)]);
        let answer = Answer::of(request.basic_auth(handle, Some(PASSWORD))).await;
        answer.json()["token"].as_str().unwrap().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A manifest about `subject` of nearly 4 MiB.
fn long(appview: &TestAppView, subject: &Manifest, n: usize) -> Manifest {
    appview.image_with(&format!("long {n}"), |image| {
        image.subject = Some(descriptor(subject));
        image.artifact_type = Some("application/vnd.example.noise".to_owned());
        for part in 0..40_000 {
            image.annotations.insert(format!("k{part:06}"), "n".repeat(85));
        }
    })
}

#[tokio::test]
async fn a_subject_with_4096_referrers_of_four_megabytes_adds_at_most_32_mib() {
    let mut appview = TestAppView::start().await;
    let subject = appview.image("subject");
    {
        let alice = appview.sailor("alice.test", &[APP]).await;
        for n in 0..8 {
            let manifest = long(&appview, &subject, n);
            alice.push(APP, sha256(&manifest).as_str(), &manifest).await;
        }
        let like = appview.pds.rkeys(&appview.alice, "io.atcr.manifest")[0].clone();
        let like = appview
            .pds
            .record(&appview.alice, "io.atcr.manifest", &like)
            .unwrap();
        for n in 8..4_096_u32 {
            let digest = Digest::of(Algorithm::Sha256, &n.to_le_bytes());
            let mut record = like.clone();
            record["digest"] = json!(digest);
            appview
                .pds
                .put_record(&appview.alice, "io.atcr.manifest", digest.hex(), record);
        }
    }
    appview.stop().await;
    let program = Program::start(appview.data(), &appview.pds, &appview.hold.did()).await;
    let token = program.token("alice.test", APP).await;
    let path = |subject: &Digest| format!("/v2/{APP}/referrers/{subject}");
    // The account is listed with this, and the answer is empty.
    let nothing = Digest::of(Algorithm::Sha256, b"nothing");
    Answer::of(program.get(&path(&nothing)).bearer_auth(&token))
        .await
        .assert_status(200);
    let (before, _) = program.resident();
    for kind in [
        Some("none/such"),
        None,
        Some("application/vnd.example.noise"),
        None,
    ] {
        let mut request = program.get(&path(&sha256(&subject))).bearer_auth(&token);
        if let Some(kind) = kind {
            request = request.query(&[("artifactType", kind)]);
        }
        Answer::of(request).await.assert_status(200);
    }
    let (_, most) = program.resident();
    let grown = most.saturating_sub(before);
    println!(
        "referrers: from {} MiB to {} MiB at most",
        before / MIB,
        most / MIB
    );
    assert!(grown <= 32 * MIB, "{} MiB more", grown / MIB);
}

#[tokio::test]
async fn two_hundred_hostile_answers_at_once_take_bounded_memory() {
    let mut appview = TestAppView::start().await;
    appview.stop().await;
    let program = Program::start(appview.data(), &appview.pds, &appview.hold.did()).await;
    let token = program.token("bob.test", APP).await;
    for n in 0..200 {
        let tag = json!({
            "$type": "io.atcr.tag", "repository": "app", "tag": format!("v{n}"), "createdAt": "2026-01-01T00:00:00Z",
            "manifestDigest": Digest::of(Algorithm::Sha256, b"nothing"),
        });
        appview
            .pds
            .put_record(&appview.alice, "io.atcr.tag", &format!("app_v{n}"), tag);
    }
    // What costs most to parse, of the longest that is read.
    let dense = PdsFault::Filled(Filler::Dense(1400 * 1024));
    appview.pds.set_fault("com.atproto.repo.getRecord", Some(dense));
    let requests = (0..200).map(|n| {
        let request = program
            .get(&format!("/v2/{APP}/manifests/v{n}"))
            .bearer_auth(&token);
        Answer::of(request)
    });
    let answers = futures_util::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| !answer.status.is_success()));
    let (_, most) = program.resident();
    writeln!(
        std::io::stderr(),
        "200 hostile answers: {} MiB at most",
        most / MIB
    )
    .unwrap();
    // 160 MiB is the bound of a release build; one for tests is larger before it does anything.
    let bound = if cfg!(debug_assertions) { 192 } else { 160 };
    assert!(most <= bound * MIB, "{} MiB", most / MIB);
}

/// A client that asks for `path` and reads the status of the answer and no more.
async fn slow_reader(appview: &TestAppView, path: &str, token: &str, client: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel would take all of the answer otherwise.
    socket.set_recv_buffer_size(4096).unwrap();
    let address = appview.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nx-forwarded-for: {client}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    (stream, String::from_utf8_lossy(&status).into_owned())
}

#[tokio::test]
async fn slow_readers_of_large_manifests_stay_within_the_budget_and_others_are_told_to_wait() {
    let mut appview = TestAppView::start_with(|config| {
        // Of 16 MiB for bytes one client has four.
        config.registry.manifest_memory_bytes = 32 * MIB;
        config.server.trusted_proxies = vec!["127.0.0.1".to_owned()];
    })
    .await;
    let subject = appview.image("subject");
    let mut digests = Vec::new();
    {
        let alice = appview.sailor("alice.test", &[APP]).await;
        for n in 0..6 {
            let manifest = long(&appview, &subject, n);
            digests.push(sha256(&manifest));
            alice.push(APP, digests[n].as_str(), &manifest).await;
        }
    }
    appview.restart().await;
    let token = Answer::of(appview.get(&format!("/auth/token?scope=repository:{APP}:pull"))).await;
    let token = token.json()["token"].as_str().unwrap().to_owned();
    let path = |n: usize| format!("/v2/{APP}/manifests/{}", digests[n]);
    let mut slow = Vec::new();
    for n in 0..4 {
        let (stream, status) = slow_reader(&appview, &path(n), &token, &format!("203.0.113.{n}")).await;
        assert_eq!(status, "HTTP/1.1 200");
        slow.push(stream);
    }
    let ask = |n: usize, client: &str| {
        let request = appview.get(&path(n)).bearer_auth(&token);
        Answer::of(request.header("x-forwarded-for", client.to_owned()))
    };
    // One is read by two: it is in memory once.
    ask(0, "198.51.100.1").await.assert_status(200);
    for refused in [ask(4, "198.51.100.1").await, ask(5, "203.0.113.0").await] {
        refused.assert_error(429, "TOOMANYREQUESTS");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    slow.pop();
    let answer = ask(4, "198.51.100.1").await;
    answer.assert_status(200);
    assert_eq!(&Digest::of(Algorithm::Sha256, &answer.body), &digests[4]);
}
