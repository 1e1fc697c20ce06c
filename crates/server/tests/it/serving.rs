//! The listener and the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use atcr_server::address_gate::{self, AddressGate, Exempt};
use atcr_server::client_address::{self, Network, TrustedProxies};
use atcr_server::rate_limit::{Now, RateLimit};
use atcr_server::serve::{ServeLimits, serve, serve_within};
use atcr_server::{Shutdown, retry_after};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Router, middleware};
use chrono::DateTime;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[tokio::test]
async fn a_request_in_flight_is_finished_and_no_new_one_is_taken() {
    let entered = Arc::new(Notify::new());
    let release = Arc::new(Notify::new());
    let router = Router::new().route(
        "/slow",
        get({
            let (entered, release) = (entered.clone(), release.clone());
            async move |ConnectInfo(peer): ConnectInfo<SocketAddr>| {
                entered.notify_one();
                release.notified().await;
                peer.ip().to_string()
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = Shutdown::new();
    let server = tokio::spawn(serve(listener, router, shutdown.clone()));

    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = tokio::spawn(client.get(format!("http://{address}/slow")).send());
    entered.notified().await;
    shutdown.begin();
    server.await.expect("the accept loop ends");
    assert!(
        client.get(format!("http://{address}/slow")).send().await.is_err(),
        "no connection is accepted any more"
    );

    release.notify_one();
    let answer = request.await.expect("joined").expect("answered");
    assert_eq!(answer.text().await.expect("a body"), "127.0.0.1");
    assert!(
        shutdown.drain(Duration::from_secs(30)).await,
        "everything finished by itself"
    );
}

#[tokio::test]
async fn a_task_that_does_not_finish_is_dropped_after_the_grace() {
    let shutdown = Shutdown::new();
    shutdown.spawn(std::future::pending());
    shutdown.begin();
    assert!(!shutdown.drain(Duration::ZERO).await);
}

/// Serves `router` within `limits`. Time is paused in these tests: it jumps to the next timer when nothing else is left to do.
async fn start(router: Router, limits: ServeLimits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve_within(listener, router, limits, Shutdown::new()));
    address
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("a connection")
}

/// Sends a request and reads until the answer's body has come; `None` if nothing comes within a day or the connection ends.
async fn hello_on(stream: &mut TcpStream) -> Option<String> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .ok()?;
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.ends_with("hello") {
        let read = tokio::time::timeout(A_DAY, stream.read(&mut buffer))
            .await
            .ok()?
            .ok()?;
        if read == 0 {
            return None;
        }
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    Some(text)
}

const A_DAY: Duration = Duration::from_hours(24);

fn limits() -> ServeLimits {
    ServeLimits {
        header_timeout: 2 * A_DAY,
        write_timeout: 2 * A_DAY,
        ..ServeLimits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn b6_a_connection_beyond_the_cap_waits_until_another_ends() {
    let limits = ServeLimits {
        connections: 2,
        ..limits()
    };
    let address = start(hello(), limits).await;
    let mut first = connect(address).await;
    let mut second = connect(address).await;
    assert!(hello_on(&mut first).await.is_some());
    assert!(hello_on(&mut second).await.is_some());
    let mut third = connect(address).await;
    assert_eq!(hello_on(&mut third).await, None);
    drop(first);
    let mut answer = [0; 15];
    third.read_exact(&mut answer).await.expect("it is served now");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

#[tokio::test(start_paused = true)]
async fn b6_one_address_cannot_take_all_connections_and_a_proxy_may() {
    let of = async |unlimited_peers: Vec<Network>| {
        let limits = ServeLimits {
            connections_per_address: 1,
            unlimited_peers,
            ..limits()
        };
        let address = start(hello(), limits).await;
        let mut first = connect(address).await;
        assert!(hello_on(&mut first).await.is_some());
        let mut second = connect(address).await;
        let served = hello_on(&mut second).await.is_some();
        drop(first);
        (address, served)
    };
    let (address, served) = of(Vec::new()).await;
    assert!(!served);
    // The place of a connection that ended is free again.
    while hello_on(&mut connect(address).await).await.is_none() {}
    assert!(of(vec!["127.0.0.0/8".parse().expect("a network")]).await.1);
}

#[tokio::test(start_paused = true)]
async fn b6_a_client_that_does_not_finish_its_head_is_closed() {
    let limits = ServeLimits {
        header_timeout: Duration::from_secs(30),
        ..limits()
    };
    let address = start(hello(), limits).await;
    let mut slow = connect(address).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n")
        .await
        .expect("half a head");
    let mut rest = Vec::new();
    tokio::time::timeout(A_DAY, slow.read_to_end(&mut rest))
        .await
        .expect("it is closed within its time")
        .expect("it is closed");
}

#[tokio::test(start_paused = true)]
async fn b6_a_connection_without_a_next_request_is_closed() {
    let limits = ServeLimits {
        header_timeout: Duration::from_secs(30),
        ..limits()
    };
    let address = start(hello(), limits).await;
    let mut idle = connect(address).await;
    assert!(hello_on(&mut idle).await.is_some());
    let mut rest = Vec::new();
    tokio::time::timeout(A_DAY, idle.read_to_end(&mut rest))
        .await
        .expect("it is closed within its time")
        .expect("it is closed");
}

#[tokio::test(start_paused = true)]
async fn b6_a_client_that_takes_nothing_of_its_answer_is_closed() {
    let dropped = Arc::new(Notify::new());
    let endless = get({
        let dropped = Arc::clone(&dropped);
        async move || {
            let guard = OnDrop(dropped);
            let frames = stream::repeat_with(move || {
                let _held = &guard;
                Ok::<_, std::io::Error>(vec![0_u8; 64 * 1024])
            });
            Body::from_stream(frames)
        }
    });
    let limits = ServeLimits {
        write_timeout: Duration::from_mins(1),
        ..limits()
    };
    let address = start(Router::new().route("/", endless), limits).await;
    let mut silent = connect(address).await;
    silent
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("a request");
    tokio::time::timeout(A_DAY, dropped.notified())
        .await
        .expect("its answer is given up within its time");
}

/// Tells that it was dropped.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

fn gated(exempt: &[&str], proxies: &[&str]) -> Router {
    let networks = |texts: &[&str]| -> Vec<Network> {
        texts
            .iter()
            .map(|text| text.parse().expect("a network"))
            .collect()
    };
    let now = Now::new(|| DateTime::UNIX_EPOCH);
    let gate = AddressGate {
        limit: RateLimit::new("test", "2/1m".parse().expect("a rate"), now),
        exempt: Exempt::new(networks(exempt)),
        counts: |request| request.uri().path() != "/free",
        refuse: |limited| {
            let headers = [("retry-after", retry_after::header_value(limited.retry_after))];
            (StatusCode::TOO_MANY_REQUESTS, headers, limited.to_string()).into_response()
        },
    };
    hello()
        .route("/free", get(async || "hello"))
        .layer(middleware::from_fn_with_state(
            Arc::new(gate),
            address_gate::layer,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::new(TrustedProxies::new(networks(proxies))),
            client_address::layer,
        ))
}

async fn status(address: SocketAddr, path: &str, forwarded_for: Option<&str>) -> (u16, Option<String>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.get(format!("http://{address}{path}"));
    if let Some(client) = forwarded_for {
        request = request.header("x-forwarded-for", client);
    }
    let answer = request.send().await.expect("an answer");
    let wait = answer
        .headers()
        .get("retry-after")
        .map(|wait| wait.to_str().expect("text").to_owned());
    (answer.status().as_u16(), wait)
}

#[tokio::test]
async fn d10_an_address_that_asks_too_often_is_told_when_to_come_back() {
    let address = start(gated(&[], &[]), ServeLimits::default()).await;
    assert_eq!(status(address, "/", None).await, (200, None));
    assert_eq!(status(address, "/", None).await, (200, None));
    assert_eq!(status(address, "/", None).await, (429, Some("30".to_owned())));
    assert_eq!(status(address, "/free", None).await, (200, None));
}

#[tokio::test]
async fn d10_clients_of_a_trusted_proxy_are_counted_one_by_one() {
    let address = start(gated(&[], &["127.0.0.1"]), ServeLimits::default()).await;
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"] {
        for _ in 0..2 {
            assert_eq!(status(address, "/", Some(client)).await.0, 200, "{client}");
        }
        assert_eq!(status(address, "/", Some(client)).await.0, 429, "{client}");
    }
    // The same /64.
    assert_eq!(status(address, "/", Some("2001:db8::2")).await.0, 429);
}

#[tokio::test]
async fn d10_an_exempt_address_is_not_counted_unless_it_speaks_for_others() {
    let address = start(gated(&["127.0.0.0/8"], &[]), ServeLimits::default()).await;
    for _ in 0..5 {
        assert_eq!(status(address, "/", None).await.0, 200);
    }
    for expected in [200, 200, 429] {
        assert_eq!(status(address, "/", Some("192.0.2.1")).await.0, expected);
    }
}
