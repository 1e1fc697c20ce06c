//! A firehose over a real socket.

use std::net::SocketAddr;

use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_ingest::adapters::socket::WebSocketSource;
use atcr_ingest::follow::EventSource as _;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use url::Url;

fn egress() -> EgressClient {
    EgressClient::new(EgressPolicy::of_server(true)).unwrap()
}

fn firehose(address: SocketAddr, egress: EgressClient) -> WebSocketSource {
    WebSocketSource::firehose(Url::parse(&format!("http://{address}")).unwrap(), egress)
}

/// Sends `messages` to the one who connects, and then waits for the end. Returns the path that was asked for, and the framing if any.
async fn serve(listener: TcpListener, messages: Vec<Message>) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let note = |request: &Request, response: Response| {
        path = request.uri().to_string();
        if let Some(framing) = request.headers().get("sec-websocket-protocol") {
            path = format!("{path} {}", framing.to_str().unwrap());
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, note).await.unwrap();
    for message in messages {
        if socket.send(message).await.is_err() {
            return path;
        }
    }
    let _ = socket.close(None).await;
    while let Some(Ok(_)) = socket.next().await {}
    path
}

#[tokio::test]
async fn frames_come_in_order_from_behind_the_cursor() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = firehose(listener.local_addr().unwrap(), egress());
    let messages = vec![
        Message::Binary(Bytes::from_static(b"one")),
        Message::Ping(Bytes::new()),
        Message::Binary(Bytes::from_static(b"two")),
    ];
    let server = tokio::spawn(serve(listener, messages));
    let mut events = source.connect(Some(41)).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), "one");
    assert_eq!(events.next().await.unwrap().unwrap(), "two");
    assert_eq!(events.next().await.unwrap(), None);
    drop(events);
    assert_eq!(
        server.await.unwrap(),
        "/xrpc/com.atproto.sync.subscribeRepos?cursor=41"
    );
}

#[tokio::test]
async fn a_jetstream_of_either_version_is_asked_for_our_collections() {
    for (path, expected) in [
        ("/subscribe", "/subscribe?wantedCollections=io.atcr.*&cursor=41"),
        (
            "/xrpc/network.bsky.jetstream.subscribeEvents",
            "/xrpc/network.bsky.jetstream.subscribeEvents?collections=io.atcr.*&kinds=commit&kinds=identity&kinds=account&kinds=sync\
             &cursor=41 xrpc.v1.json",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let source = WebSocketSource::jetstream(url.parse().unwrap(), egress());
        let server = tokio::spawn(serve(listener, vec![Message::Text("{}".into())]));
        let mut events = source.connect(Some(41)).await.unwrap();
        assert_eq!(events.next().await.unwrap().unwrap(), "{}");
        drop(events);
        assert_eq!(server.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = firehose(listener.local_addr().unwrap(), egress());
    let long = Message::Binary(vec![0; 6 * 1024 * 1024].into());
    let server = tokio::spawn(serve(listener, vec![long]));
    let mut events = source.connect(None).await.unwrap();
    assert!(events.next().await.is_err());
    drop(events);
    server.await.unwrap();
}

#[tokio::test]
async fn a_private_address_is_not_connected_to_and_no_other_answer_is_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let guarded = EgressClient::new(EgressPolicy::default()).unwrap();
    assert!(firehose(address, guarded).connect(None).await.is_err());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Until the other side leaves.
        let _ = stream.read(&mut request).await;
    });
    let refused = firehose(address, egress()).connect(None).await.err().unwrap();
    assert!(refused.to_string().contains("not to our request"), "{refused}");
    server.await.unwrap();
}

#[test]
fn a_server_is_named_without_the_password_that_its_url_has() {
    for (url, name) in [
        (
            "https://operator:secret@relay.example:8443/path?token=secret",
            "relay.example:8443",
        ),
        ("wss://relay.example/subscribe", "relay.example"),
        ("http://[::1]:2470", "[::1]:2470"),
    ] {
        assert_eq!(atcr_ingest::shown(&url.parse().unwrap()), name);
    }
}
