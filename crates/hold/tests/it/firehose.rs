//! `subscribeRepos` over real sockets, followed by a consumer written from the specification.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::{Curve, PublicKey, SigningKey};
use atcr_hold::config::{DidMethod, HoldConfig};
use atcr_hold::firehose::{Begin, Firehose};
use atcr_hold_pds::{HoldRepo, Message as Event, Progress, RecordWrite, RepoOptions, restore};
use atcr_oci::{Algorithm, Digest};
use atcr_server::{HumanDuration, Shutdown};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::consumer::Consumer;
use crate::harness::directory::Directory;
use crate::harness::{Answer, Setup, TestHold};

const SUBSCRIBE: &str = "/xrpc/com.atproto.sync.subscribeRepos";
/// `io.atcr.hold.note` is no collection of the hold: what these tests write has no meaning to it.
const COLLECTION: &str = "io.atcr.hold.note";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn url(hold: &TestHold, cursor: Option<u64>) -> String {
    let cursor = cursor.map_or_else(String::new, |cursor| format!("?cursor={cursor}"));
    format!("ws://{}{SUBSCRIBE}{cursor}", hold.settings.listen)
}

async fn subscribe(hold: &TestHold, cursor: Option<u64>) -> Socket {
    let (socket, _) = connect_async(url(hold, cursor)).await.expect("a subscription");
    socket
}

/// The next binary message; the code of the close instead.
async fn next(socket: &mut Socket) -> Result<Vec<u8>, CloseCode> {
    loop {
        match socket.next().await.expect("not just gone").expect("a message") {
            Message::Binary(bytes) => return Ok(bytes.to_vec()),
            Message::Close(frame) => return Err(frame.expect("a reason").code),
            _ => {}
        }
    }
}

fn note(key: u64, text: &str) -> RecordWrite {
    RecordWrite::Put {
        collection: COLLECTION.parse().expect("a collection"),
        rkey: format!("note{key:06}").parse().expect("a key"),
        value: json!({ "text": text }),
    }
}

fn without(key: u64) -> RecordWrite {
    RecordWrite::Delete {
        collection: COLLECTION.parse().expect("a collection"),
        rkey: format!("note{key:06}").parse().expect("a key"),
    }
}

fn head(hold: &TestHold) -> u64 {
    *hold.hold.repo().watch_seq().borrow()
}

async fn public_key(hold: &TestHold) -> PublicKey {
    let document = Answer::of(hold.get("/.well-known/did.json")).await.ok();
    let key = document["verificationMethod"][0]["publicKeyMultibase"]
        .as_str()
        .expect("a key");
    PublicKey::from_multikey(key).expect("a key")
}

/// Writes that create, change and delete, in commits of one to four.
async fn mixed_writes(repo: &HoldRepo, from: u64, commits: u64) {
    for number in from..from + commits {
        // Keys from all over the tree.
        let key = |salt: u64| (number * 7919 + salt * 104_729) % 3001;
        let mut writes = vec![note(key(0), &format!("commit {number}"))];
        match number % 5 {
            0 => writes.push(without(key(1))),
            1 => writes.extend((1..4).map(|salt| note(key(salt), "together"))),
            2 => writes = vec![without(key(2)), note(key(3), &format!("after {number}"))],
            _ => {}
        }
        repo.write(writes).await.expect("written");
    }
}

/// Takes events up to `until`.
async fn follow(socket: &mut Socket, consumer: &mut Consumer, key: &PublicKey, until: u64) {
    while consumer.seq < until {
        let frame = next(socket).await.expect("an event");
        consumer.take(&frame, key).expect("an event that can be verified");
    }
}

#[tokio::test]
async fn a_consumer_verifies_every_one_of_many_commits_across_restarts_and_compactions() {
    const ROUNDS: u64 = 4;
    const COMMITS: u64 = 5000;
    let mut hold = TestHold::start(Setup::default()).await;
    hold = hold
        .restart(|settings| settings.log_segment_bytes = Some(1 << 20))
        .await;
    let key = public_key(&hold).await;
    let mut consumer = Consumer::default();
    for round in 0..ROUNDS {
        let mut socket = subscribe(&hold, Some(consumer.seq)).await;
        let repo = hold.hold.repo().clone();
        let write = async {
            mixed_writes(&repo, round * COMMITS, COMMITS / 2).await;
            repo.write_snapshot().await.expect("a snapshot");
            mixed_writes(&repo, round * COMMITS + COMMITS / 2, COMMITS / 2).await;
            *repo.watch_seq().borrow()
        };
        let (seen, mut written) = tokio::sync::oneshot::channel();
        let writing = async {
            let _ = seen.send(write.await);
        };
        let following = async {
            let until = loop {
                tokio::select! {
                    biased;
                    until = &mut written => break until.expect("written"),
                    frame = next(&mut socket) => {
                        consumer.take(&frame.expect("an event"), &key).expect("verified");
                    }
                }
            };
            follow(&mut socket, &mut consumer, &key, until).await;
        };
        tokio::join!(writing, following);
        assert_eq!(consumer.seq, head(&hold));
        hold = hold.restart(|_| ()).await;
    }
    assert!(consumer.commits >= 20_000, "{} commits", consumer.commits);
    let mut records = Vec::new();
    for collection in hold.hold.repo().collections().await.expect("read") {
        let mut cursor = None;
        loop {
            let page = hold
                .hold
                .repo()
                .list_records(&collection, 1000, cursor.as_deref(), true);
            let page = page.await.expect("read");
            records.extend(page.records.into_iter().map(|record| record.cid));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    let followed: Vec<_> = consumer.records.values().copied().collect();
    assert_eq!(followed, records);
    hold.stop().await;
}

#[tokio::test]
async fn a_cursor_says_where_to_begin() {
    let hold = TestHold::start(Setup::default()).await.restart(|_| ()).await;
    let repo = hold.hold.repo().clone();
    let before = head(&hold);
    let mut live = subscribe(&hold, None).await;
    let mut all = subscribe(&hold, Some(0)).await;
    let mut later = subscribe(&hold, Some(before)).await;
    repo.write(vec![note(1, "one")]).await.expect("written");
    let written = head(&hold);
    let only = next(&mut live).await.expect("an event");
    assert_eq!(seq(&only), Some(written), "nothing before the subscription");
    assert_eq!(next(&mut later).await.expect("an event"), only);
    // From the oldest event on, without a word about it.
    let mut consumer = Consumer::default();
    follow(&mut all, &mut consumer, &public_key(&hold).await, written).await;

    let mut future = subscribe(&hold, Some(written + 1)).await;
    let told = next(&mut future).await.expect("a message");
    assert!(named(&told, b"FutureCursor"), "{told:?}");
    assert_eq!(next(&mut future).await, Err(CloseCode::Normal));
    for cursor in ["-1", "1.5", "newest"] {
        let request = hold.get(&format!("{SUBSCRIBE}?cursor={cursor}"));
        assert_eq!(
            Answer::of(request).await.error(),
            (400, "InvalidRequest"),
            "{cursor}"
        );
    }
    assert_eq!(
        Answer::of(hold.get(SUBSCRIBE)).await.error(),
        (400, "InvalidRequest"),
        "no WebSocket"
    );
    drop((live, all, later, future));
    hold.stop().await;
}

#[tokio::test]
async fn a_cursor_whose_events_are_gone_is_told_so_and_gets_the_oldest() {
    let hold = TestHold::start(Setup::default()).await;
    let hold = hold
        .restart(|settings| {
            settings.log_segment_bytes = Some(64 * 1024);
            settings.event_retention = HumanDuration::from_secs(0);
        })
        .await;
    let repo = hold.hold.repo().clone();
    mixed_writes(&repo, 0, 1).await;
    let early = head(&hold);
    mixed_writes(&repo, 1, 400).await;
    repo.write_snapshot().await.expect("a snapshot");
    mixed_writes(&repo, 401, 1).await;

    let mut outdated = subscribe(&hold, Some(early)).await;
    let told = next(&mut outdated).await.expect("a message");
    assert!(
        named(&told, b"OutdatedCursor") && seq(&told).is_none(),
        "{told:?}"
    );
    let oldest = seq(&next(&mut outdated).await.expect("an event")).expect("a seq");
    assert!(oldest > early);
    let mut from_the_oldest = subscribe(&hold, Some(0)).await;
    let first = next(&mut from_the_oldest).await.expect("an event");
    assert_eq!(seq(&first), Some(oldest), "without a word");
    drop((outdated, from_the_oldest));
    hold.stop().await;
}

/// The `seq` of an event.
fn seq(frame: &[u8]) -> Option<u64> {
    atcr_repo::firehose::Message::decode(frame)
        .ok()
        .map(|message| message.seq())
}

/// Whether a message that has no `seq` has this name.
fn named(frame: &[u8], name: &[u8]) -> bool {
    frame.windows(name.len()).any(|window| window == name)
}

#[tokio::test]
async fn one_who_comes_without_a_cursor_hears_of_a_repository_that_is_new_or_at_another_host() {
    let directory = Directory::start().await;
    let url = directory.url.to_string();
    let mut hold = TestHold::start_with(Setup::default(), |config| {
        config.database.did_method = DidMethod::Plc;
        config.database.plc_directory_url = url;
    })
    .await;
    let mut consumer = Consumer::default();
    let key = public_key(&hold).await;
    for occasion in ["new", "known", "at another host"] {
        let mut socket = subscribe(&hold, None).await;
        if occasion == "known" {
            // Nothing comes before what happens.
            let write = vec![note(1, occasion)];
            hold.hold.repo().write(write).await.expect("written");
        }
        let mut heard = Vec::new();
        let expected = if occasion == "known" { 1 } else { 2 };
        while heard.len() < expected {
            let frame = next(&mut socket).await.expect("an event");
            heard.push(Event::decode(&frame).expect("an event"));
        }
        match (&heard[..], occasion) {
            ([Event::Commit(_)], "known") => {}
            ([Event::Identity(_), Event::Sync(sync)], "new" | "at another host") => {
                assert_eq!(sync.rev, hold.hold.repo().latest_commit().rev);
            }
            _ => panic!("{occasion}: {heard:?}"),
        }
        drop(socket);
        hold = hold
            .restart(|settings| {
                if occasion == "known" {
                    settings.public_url = "http://hold.test:1004".parse().expect("a URL");
                }
            })
            .await;
    }
    // Those that knew it all the time lose nothing.
    let mut socket = subscribe(&hold, Some(0)).await;
    follow(&mut socket, &mut consumer, &key, head(&hold)).await;
    drop(socket);
    hold.stop().await;
}

#[tokio::test]
async fn one_who_comes_without_a_cursor_after_a_long_silence_hears_of_the_identity() {
    let hold = TestHold::start(Setup::default()).await;
    let hold = hold
        .restart(|settings| settings.limits.firehose.quiet_for = Duration::ZERO)
        .await;
    let before = head(&hold);
    let mut socket = subscribe(&hold, None).await;
    let told = next(&mut socket).await.expect("an event");
    assert!(atcr_repo::firehose::is_identity(&told));
    assert!(seq(&told) > Some(before));
    // One that has a cursor hears no more than what happens.
    let mut with_cursor = subscribe(&hold, Some(head(&hold))).await;
    hold.hold
        .repo()
        .write(vec![note(1, "one")])
        .await
        .expect("written");
    assert_eq!(
        seq(&next(&mut with_cursor).await.expect("an event")),
        Some(head(&hold))
    );
    drop((socket, with_cursor));
    hold.stop().await;
}

#[tokio::test]
async fn many_who_come_at_once_without_a_cursor_are_told_once() {
    let hold = TestHold::start(Setup::default()).await;
    let mut limits = hold.settings.limits.firehose.clone();
    limits.quiet_for = Duration::ZERO;
    let firehose = Firehose::start(
        hold.hold.repo().clone(),
        limits,
        hold.clock.clone(),
        &Shutdown::new(),
    );
    let before = head(&hold);
    let follow = || match firehose.subscribe(firehose.admit(None).expect("a place"), None) {
        Begin::At(subscription) => subscription,
        other => panic!("{other:?}"),
    };
    let first: Vec<_> = (0..6).map(|_| follow()).collect();
    let told = first
        .iter()
        .map(|subscription| firehose.break_silence(subscription.seq()));
    futures_util::future::try_join_all(told).await.expect("told");
    let events = hold.hold.repo().events_after(before, 100).await.expect("events");
    assert_eq!(events.len(), 2, "an #identity and a #sync for all");
    // One who comes later has not heard it.
    firehose.break_silence(follow().seq()).await.expect("told");
    let events = hold.hold.repo().events_after(before, 100).await.expect("events");
    assert_eq!(events.len(), 4);
    hold.stop().await;
}

#[tokio::test]
async fn silence_is_measured_by_time_also_after_a_restore_whose_numbers_are_ahead() {
    let hold = TestHold::start(Setup::default()).await;
    let did = hold.did().clone();
    let mut stopped = hold.stop_to_restart().await;
    let (repo, old) = (stopped.data_dir().join("repo"), stopped.data_dir().join("old"));
    std::fs::rename(&repo, &old).expect("moved");
    let key = SigningKey::load(&stopped.settings.key_path, Curve::K256)
        .expect("readable")
        .expect("a key");
    let options = RepoOptions::new(repo, did, key);
    restore(&old, options, Vec::new(), Arc::new(SystemClock), Progress::none())
        .await
        .expect("restored");
    stopped.settings.limits.firehose.quiet_for = Duration::from_micros(1);
    let hold = stopped.start(|_| ()).await.expect("the hold opens");
    let before = head(&hold);
    let mut socket = subscribe(&hold, None).await;
    let told = tokio::time::timeout(Duration::from_secs(20), next(&mut socket)).await;
    let told = told.expect("it is told something").expect("an event");
    assert!(atcr_repo::firehose::is_identity(&told));
    assert!(seq(&told) > Some(before));
    drop(socket);
    hold.stop().await;
}

async fn limited(change: impl FnOnce(&mut HoldConfig)) -> TestHold {
    TestHold::start_with(Setup::default(), |config| {
        config.limits.exempt = Vec::new();
        change(config);
    })
    .await
}

#[tokio::test]
async fn a_subscriber_beyond_the_bound_is_refused_before_it_gets_a_socket() {
    for of_address in [true, false] {
        let hold = limited(|config| {
            if of_address {
                config.limits.subscribers_per_address = 2;
            } else {
                config.limits.subscribers = 2;
            }
        })
        .await;
        let first = subscribe(&hold, None).await;
        let _second = subscribe(&hold, None).await;
        let Err(Error::Http(refused)) = connect_async(url(&hold, None)).await else {
            panic!("a third subscription");
        };
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key("retry-after"));
        let body: Value = serde_json::from_slice(refused.body().as_ref().expect("a body")).expect("JSON");
        assert_eq!(body["error"], "TooManySubscribers");
        // One that leaves makes room.
        drop(first);
        while connect_async(url(&hold, None)).await.is_err() {
            tokio::task::yield_now().await;
        }
        hold.stop().await;
    }
}

/// The request for a subscription.
fn handshake(cursor: u64) -> String {
    format!(
        "GET {SUBSCRIBE}?cursor={cursor} HTTP/1.1\r\nhost: hold\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A subscription by hand: the socket after the head of the answer.
async fn bare(hold: &TestHold, cursor: u64, receive_buffer: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .set_recv_buffer_size(receive_buffer)
        .expect("a small buffer");
    let mut stream = socket.connect(hold.settings.listen).await.expect("connected");
    stream
        .write_all(handshake(cursor).as_bytes())
        .await
        .expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    // The example of RFC 6455 §1.3.
    assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    stream
}

#[tokio::test]
async fn a_subscriber_that_answers_no_ping_is_dropped_and_one_that_does_is_not() {
    let hold = limited(|_| ()).await;
    let hold = hold
        .restart(|settings| {
            settings.limits.firehose.ping_interval = Duration::from_millis(50);
            settings.limits.firehose.pong_within = Duration::from_millis(400);
        })
        .await;
    let mut answering = subscribe(&hold, None).await;
    let mut silent = bare(&hold, head(&hold), 64 * 1024).await;
    let mut received = Vec::new();
    let ended = silent.read_to_end(&mut received);
    let answers = async {
        loop {
            answering.next().await.expect("still there").expect("a ping");
        }
    };
    tokio::select! {
        ended = ended => drop(ended),
        () = answers => unreachable!("endless"),
    }
    assert!(received.starts_with(&[0x89, 0]), "pings: {received:?}");
    assert!(
        received
            .windows(2)
            .any(|window| window == CloseCode::Policy.bits()),
        "why: {received:?}"
    );
    hold.hold
        .repo()
        .write(vec![note(1, "one")])
        .await
        .expect("written");
    assert_eq!(
        seq(&next(&mut answering).await.expect("an event")),
        Some(head(&hold))
    );
    drop(answering);
    hold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_pings_without_pause_gets_its_events_all_the_same() {
    const PINGS: u32 = 60_000;
    let hold = limited(|_| ()).await;
    // After a start nothing is in memory yet: the first page is read from the log.
    let hold = hold.restart(|_| ()).await;
    let mut said = Vec::from(handshake(0));
    for number in 1..=PINGS {
        // A client's frames are masked, with zeros here.
        said.extend([0x89, 0x84, 0, 0, 0, 0]);
        said.extend(number.to_be_bytes());
    }
    let stream = TcpStream::connect(hold.settings.listen).await.expect("connected");
    let (mut reader, mut writer) = stream.into_split();
    // All of them are there before the first answer.
    let speaking = tokio::spawn(async move {
        let _ = writer.write_all(&said).await;
        writer
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reader.read_u8().await.expect("an answer"));
    }
    let mut answered = 0;
    loop {
        let (kind, length) = (
            reader.read_u8().await.expect("a frame"),
            reader.read_u8().await.expect("its length"),
        );
        if kind & 0x0f != 0x0a {
            break;
        }
        let mut pong = vec![0; usize::from(length)];
        reader.read_exact(&mut pong).await.expect("a pong");
        answered = u32::from_be_bytes(pong.try_into().expect("a number"));
    }
    assert!(answered < PINGS, "the first event came after all pongs");
    speaking.abort();
    hold.stop().await;
}

trait Bits {
    fn bits(self) -> [u8; 2];
}

impl Bits for CloseCode {
    fn bits(self) -> [u8; 2] {
        u16::from(self).to_be_bytes()
    }
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_holds_up_nobody_and_is_dropped() {
    let hold = limited(|config| {
        config.limits.write_timeout = HumanDuration::from_secs(1);
        config.limits.subscribers = 2;
    })
    .await;
    let repo = hold.hold.repo().clone();
    let long = "x".repeat(900_000);
    for key in 0..12 {
        repo.write(vec![note(key, &format!("{key}{long}"))])
            .await
            .expect("written");
    }
    let mut stalled = bare(&hold, 0, 16 * 1024).await;
    let mut attentive = subscribe(&hold, Some(0)).await;
    let mut consumer = Consumer::default();
    let key = public_key(&hold).await;
    follow(&mut attentive, &mut consumer, &key, head(&hold)).await;
    // Its place becomes free, though it has not left.
    while connect_async(url(&hold, None)).await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut taken = 0;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stalled.read(&mut buffer).await {
        taken += length;
    }
    assert!(taken < 10_800_000, "it got {taken} bytes of 10.8 MB");
    repo.write(vec![note(1, "more")]).await.expect("written");
    follow(&mut attentive, &mut consumer, &key, head(&hold)).await;
    drop(attentive);
    hold.stop().await;
}

#[tokio::test]
async fn a_subscriber_whose_next_events_are_dropped_while_it_reads_is_told_so() {
    let hold = TestHold::start(Setup::default()).await;
    let hold = hold
        .restart(|settings| {
            settings.log_segment_bytes = Some(1024 * 1024);
            settings.event_retention = HumanDuration::from_secs(0);
        })
        .await;
    let repo = hold.hold.repo().clone();
    let long = "x".repeat(900_000);
    // More than sockets and memory keep.
    for key in 0..30 {
        repo.write(vec![note(key, &format!("{key}{long}"))])
            .await
            .expect("written");
    }
    let mut slow = bare(&hold, 0, 16 * 1024).await;
    repo.write_snapshot().await.expect("a snapshot");
    let mut received = Vec::new();
    let ended = slow.read_to_end(&mut received).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert!(received.len() < 27_000_000, "{}", received.len());
    assert!(named(&received, b"the next events are not kept any more"));
    hold.stop().await;
}

#[tokio::test]
async fn a_hold_that_stops_sends_the_last_events_and_says_goodbye() {
    let hold = TestHold::start(Setup::default()).await;
    let mut socket = subscribe(&hold, None).await;
    let repo = hold.hold.repo().clone();
    let before = head(&hold);
    mixed_writes(&repo, 0, 50).await;
    let last = head(&hold);
    let stopping = hold.stop();
    let reading = async {
        let mut newest = before;
        let code = loop {
            match next(&mut socket).await {
                Ok(frame) => newest = seq(&frame).expect("an event"),
                Err(code) => break code,
            }
        };
        let _ = socket.flush().await;
        (newest, code)
    };
    let ((newest, code), ()) = tokio::join!(reading, stopping);
    assert_eq!((newest, code), (last, CloseCode::Away));
}

#[tokio::test]
async fn a_hold_that_stops_says_goodbye_after_the_counts_that_it_publishes_at_the_end() {
    let hold = TestHold::start(Setup {
        public: true,
        ..Setup::default()
    })
    .await;
    let sailor = hold.crew("sailor", &["blob:write"]).await;
    hold.place_blobs(&["a layer"]);
    let digest = |seed: &str| Digest::of(Algorithm::Sha256, seed.as_bytes()).to_string();
    let push = json!({
        "repository": "team/app", "userDid": sailor.did, "manifestDigest": digest("manifest"), "operation": "push",
        "manifest": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "digest": digest("config"), "size": 7 },
            "layers": [{ "digest": digest("a layer"), "size": 7, "mediaType": "application/vnd.oci.image.layer.v1.tar" }],
        },
    });
    hold.call("io.atcr.hold.notifyManifest", Some(&sailor), &push)
        .await
        .ok();
    let mut socket = subscribe(&hold, Some(0)).await;
    let reading = async {
        let mut collections = BTreeSet::new();
        let code = loop {
            match next(&mut socket).await.map(|frame| Event::decode(&frame)) {
                Ok(Ok(Event::Commit(commit))) => {
                    let ops = commit.ops.iter();
                    collections.extend(ops.filter_map(|op| Some(op.path.split_once('/')?.0.to_owned())));
                }
                Ok(_) => {}
                Err(code) => break code,
            }
        };
        let _ = socket.flush().await;
        (collections, code)
    };
    let ((collections, code), ()) = tokio::join!(reading, hold.stop());
    assert_eq!(code, CloseCode::Away);
    assert!(
        collections.contains("io.atcr.hold.stats"),
        "the counts are not published before: {collections:?}"
    );
}
