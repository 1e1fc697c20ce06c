//! A firehose over a WebSocket. The connection is made by the guarded HTTP client, so that an address that may not be reached is not, and
//! then speaks WebSocket.

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::egress::EgressClient;
use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode, header};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::follow::{EventSource, Events, StreamError};

/// Longest message: a `#commit` has at most 2 MB of blocks.
const MAX_MESSAGE: usize = 5 * 1024 * 1024;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);

/// Without a message for this long the other side is asked for a sign of life.
const SILENCE: Duration = Duration::from_secs(10);

/// Signs of life that may be missing.
const MISSED: u32 = 3;

/// The path of a Jetstream of the second version, and how its messages are framed.
const JETSTREAM_2: &str = "/xrpc/network.bsky.jetstream.subscribeEvents";
const JETSTREAM_2_FRAMING: &str = "xrpc.v1.json";

/// What of all collections is asked for.
const OUR_COLLECTIONS: &str = "io.atcr.*";

/// One host's `com.atproto.sync.subscribeRepos`, or another stream with a numeric cursor.
#[derive(Clone)]
pub struct WebSocketSource {
    url: Url,
    framing: Option<&'static str>,
    egress: EgressClient,
}

impl WebSocketSource {
    /// The stream at `url` (`http` or `https`, with the path of the method).
    #[must_use]
    pub fn new(url: Url, egress: EgressClient) -> Self {
        Self {
            url,
            framing: None,
            egress,
        }
    }

    /// The Jetstream at `url` (`http` or `https`): of the second version at that version's path, else of the first. It sends what is
    /// about our collections, and what happens to accounts.
    #[must_use]
    pub fn jetstream(mut url: Url, egress: EgressClient) -> Self {
        if url.path() != JETSTREAM_2 {
            url.query_pairs_mut()
                .append_pair("wantedCollections", OUR_COLLECTIONS);
            return Self::new(url, egress);
        }
        url.query_pairs_mut().append_pair("collections", OUR_COLLECTIONS);
        for kind in ["commit", "identity", "account", "sync"] {
            url.query_pairs_mut().append_pair("kinds", kind);
        }
        Self {
            url,
            framing: Some(JETSTREAM_2_FRAMING),
            egress,
        }
    }

    /// The firehose of the host at `base`.
    #[must_use]
    pub fn firehose(mut base: Url, egress: EgressClient) -> Self {
        base.set_path("/xrpc/com.atproto.sync.subscribeRepos");
        base.set_query(None);
        Self::new(base, egress)
    }
}

fn broken(error: impl std::fmt::Display) -> StreamError {
    StreamError(error.to_string())
}

#[async_trait]
impl EventSource for WebSocketSource {
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError> {
        let mut url = self.url.clone();
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", &cursor.to_string());
        }
        let key = BASE64.encode(&rand::random::<[u8; 16]>());
        let request = self
            .egress
            .request(Method::GET, &url)
            .map_err(broken)?
            .version(http::Version::HTTP_11)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let request = match self.framing {
            Some(framing) => request.header(header::SEC_WEBSOCKET_PROTOCOL, framing),
            None => request,
        };
        let response = self.egress.open(request, CONNECT).await.map_err(broken)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(StreamError(format!("status {}", response.status().as_u16())));
        }
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accepted.map(http::HeaderValue::as_bytes) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(StreamError("the answer is not to our request".to_owned()));
        }
        let connection = timeout(CONNECT, response.upgrade())
            .await
            .map_err(broken)?
            .map_err(broken)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await;
        Ok(Box::new(Socket(socket)))
    }
}

struct Socket(WebSocketStream<reqwest::Upgraded>);

#[async_trait]
impl Events for Socket {
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        let mut missed = 0;
        loop {
            let Ok(message) = timeout(SILENCE, self.0.next()).await else {
                missed += 1;
                if missed > MISSED {
                    return Err(StreamError("the host is silent".to_owned()));
                }
                self.0.send(Message::Ping(Bytes::new())).await.map_err(broken)?;
                continue;
            };
            missed = 0;
            match message {
                Some(Ok(Message::Binary(bytes))) => return Ok(Some(bytes)),
                Some(Ok(Message::Text(text))) => return Ok(Some(text.into())),
                Some(Ok(Message::Close(_))) | None => return Ok(None),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(broken(error)),
            }
        }
    }
}
