//! The WebSocket to the hold.

use std::time::Duration;

use atcr_atproto::egress::EgressClient;
use atcr_scan_protocol::bounds::MAX_SMALL_MESSAGE_BYTES;
use atcr_scan_protocol::{PATH, SECRET_HEADER, Subscription, UNDERSTANDS, UNDERSTANDS_HEADER};
use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Method, StatusCode, header};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use url::Url;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(20);

/// How long a message may take to be taken by the other side: two documents in base64 over a slow line.
const SEND: Duration = Duration::from_mins(10);

/// How long the other side may take to answer the end.
const CLOSE: Duration = Duration::from_secs(5);

/// What went wrong with the connection.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The secret is wrong.
    #[error("the hold refuses the shared secret (status {0})")]
    Secret(u16),
    /// The hold has no place where scanners connect.
    #[error("the hold takes no scanners (status {0}): its scanner secret is not set, or it is no hold")]
    NoScanners(u16),
    /// Anything else.
    #[error("{0}")]
    Broken(String),
}

/// What the hold sent.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Text(String),
    /// A sign of life.
    Life,
    /// The end.
    End,
}

/// A connection to the hold.
pub struct Socket {
    stream: WebSocketStream<reqwest::Upgraded>,
    /// Whether the hold understands which vulnerability database is in use.
    pub understands_databases: bool,
}

fn broken(error: impl std::fmt::Display) -> SocketError {
    SocketError::Broken(error.to_string())
}

impl Socket {
    /// Connects to the hold at `base`.
    ///
    /// # Errors
    /// [`SocketError`]
    pub async fn connect(
        base: &Url,
        subscription: Subscription,
        secret: &HeaderValue,
        client: &EgressClient,
    ) -> Result<Self, SocketError> {
        let mut url = base.clone();
        url.set_path(PATH);
        url.set_query(Some(subscription.query().as_str()).filter(|query| !query.is_empty()));
        let key = BASE64.encode(&rand::random::<[u8; 16]>());
        let request = client
            .request(Method::GET, &url)
            .map_err(broken)?
            .version(http::Version::HTTP_11)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(SECRET_HEADER, secret.clone());
        let response = client.open(request, CONNECT).await.map_err(broken)?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(SocketError::Secret(status.as_u16()));
            }
            status @ (StatusCode::NOT_FOUND
            | StatusCode::NOT_IMPLEMENTED
            | StatusCode::METHOD_NOT_ALLOWED) => {
                return Err(SocketError::NoScanners(status.as_u16()));
            }
            status => return Err(SocketError::Broken(format!("the hold answers {status}"))),
        }
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accepted.map(HeaderValue::as_bytes) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(SocketError::Broken("the answer is not to our request".to_owned()));
        }
        let understands = response.headers().get(UNDERSTANDS_HEADER);
        let understands_databases = understands.is_some_and(|said| said == UNDERSTANDS);
        let connection = timeout(CONNECT, response.upgrade())
            .await
            .map_err(broken)?
            .map_err(broken)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_SMALL_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_SMALL_MESSAGE_BYTES));
        Ok(Self {
            stream: WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await,
            understands_databases,
        })
    }

    /// The next thing that the hold sends.
    ///
    /// # Errors
    /// `Broken`
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn receive(&mut self) -> Result<Received, SocketError> {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Ok(Received::Text(text.to_string())),
            Some(Ok(Message::Close(_))) | None => Ok(Received::End),
            Some(Ok(_)) => Ok(Received::Life),
            Some(Err(error)) => Err(broken(error)),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `Broken`
    pub async fn send(&mut self, text: Utf8Bytes) -> Result<(), SocketError> {
        timeout(SEND, self.stream.send(Message::Text(text)))
            .await
            .map_err(broken)?
            .map_err(broken)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// `Broken`
    pub async fn ping(&mut self) -> Result<(), SocketError> {
        timeout(SEND, self.stream.send(Message::Ping(Bytes::new())))
            .await
            .map_err(broken)?
            .map_err(broken)
    }

    /// Says that this is the end, and waits a little for the answer.
    pub async fn close(mut self) {
        let end = async {
            self.stream.close(None).await?;
            while let Some(Ok(_)) = self.stream.next().await {}
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        };
        // The hold sees the end either way.
        let _ = timeout(CLOSE, end).await;
    }
}
