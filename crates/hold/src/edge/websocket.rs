//! The upgrade of a request to a WebSocket (RFC 6455), with small buffers: a socket that is quiet costs some 10 KiB.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::error::EdgeError;

/// Longer messages are sent in parts of this length, so that no buffer grows to the length of the longest.
const PART_BYTES: usize = 8 * 1024;
/// Bytes that gather before they are written to the socket.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// Peers have nothing to say here but pings, pongs and goodbyes.
const READ_BUFFER_BYTES: usize = 1024;
/// The same for peers that have something to say.
const MESSAGE_READ_BUFFER_BYTES: usize = 64 * 1024;
/// The longest message that is read.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// A request that asks to become a WebSocket.
#[derive(Debug)]
pub struct WebSocketUpgrade {
    on_upgrade: OnUpgrade,
    accept: HeaderValue,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket(WebSocketStream<Counted<TokioIo<Upgraded>>>);

/// A connection that counts what was read from it.
#[derive(Debug)]
struct Counted<T> {
    io: T,
    read: u64,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        this.read += (buf.filled().len() - before) as u64;
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, EdgeError> {
        let has = |name: HeaderName, word: &str| has_word(&parts.headers, name, word);
        let asks = parts.method == Method::GET
            && parts.version == Version::HTTP_11
            && has(CONNECTION, "upgrade")
            && has(UPGRADE, "websocket");
        if !asks {
            return Err(EdgeError::NoWebSocket);
        }
        let malformed = |message: &str| EdgeError::InvalidRequest {
            message: message.to_owned(),
        };
        if !has(SEC_WEBSOCKET_VERSION, "13") {
            return Err(malformed("Sec-WebSocket-Version must be 13"));
        }
        let key = parts
            .headers
            .get(SEC_WEBSOCKET_KEY)
            .ok_or_else(|| malformed("Sec-WebSocket-Key is missing"))?;
        let accept = derive_accept_key(key.as_bytes())
            .parse()
            .map_err(|_| malformed("Sec-WebSocket-Key is malformed"))?;
        // A server that cannot hand the connection over has none of these.
        let on_upgrade = parts
            .extensions
            .remove::<OnUpgrade>()
            .ok_or(EdgeError::NoWebSocket)?;
        Ok(Self { on_upgrade, accept })
    }
}

fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(word))
}

impl WebSocketUpgrade {
    /// The answer that the client waits for, and the socket once it has it.
    #[must_use]
    pub fn accept(self) -> (Response, PendingSocket) {
        let headers = [
            (CONNECTION, HeaderValue::from_static("upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, self.accept),
        ];
        let answer = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
        (answer, PendingSocket(self.on_upgrade))
    }
}

/// A socket whose client has not got its answer yet.
#[derive(Debug)]
pub struct PendingSocket(OnUpgrade);

/// What a peer says.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Text(Utf8Bytes),
    /// A ping, a pong, or what has no meaning here.
    SignOfLife,
    /// The end.
    End,
}

impl PendingSocket {
    /// The socket.
    ///
    /// # Errors
    /// hyper's, if the client has gone.
    pub async fn open(self) -> Result<WebSocket, hyper::Error> {
        self.open_with(READ_BUFFER_BYTES, MAX_MESSAGE_BYTES).await
    }

    /// The socket of a peer that has something to say, in messages of at most `longest` bytes.
    ///
    /// # Errors
    /// hyper's, if the client has gone.
    pub async fn open_for_messages(self, longest: usize) -> Result<WebSocket, hyper::Error> {
        self.open_with(MESSAGE_READ_BUFFER_BYTES, longest).await
    }

    async fn open_with(self, read_buffer: usize, longest: usize) -> Result<WebSocket, hyper::Error> {
        let io = Counted {
            io: TokioIo::new(self.0.await?),
            read: 0,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(read_buffer)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Ok(WebSocket(socket))
    }
}

impl WebSocket {
    /// Sends one binary message. What is in the buffer is on its way only after [`flush`](Self::flush).
    ///
    /// # Errors
    /// The connection's.
    pub async fn feed(&mut self, message: &Bytes) -> Result<(), Error> {
        let mut opcode = OpCode::Data(Data::Binary);
        let mut rest = message.clone();
        loop {
            let part = rest.split_to(rest.len().min(PART_BYTES));
            let is_last = rest.is_empty();
            self.0
                .feed(Message::Frame(Frame::message(part, opcode, is_last)))
                .await?;
            if is_last {
                return Ok(());
            }
            opcode = OpCode::Data(Data::Continue);
        }
    }

    /// Sends what is in the buffer.
    ///
    /// # Errors
    /// The connection's.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.0.flush().await
    }

    /// Bytes that were read so far, also those of a message that is not whole yet.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.0.get_ref().read
    }

    /// Asks the peer whether it is there.
    ///
    /// # Errors
    /// The connection's.
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.0.send(Message::Ping(Bytes::new())).await
    }

    /// Reads until the peer says something; `false` at its end. What it says has no meaning here.
    ///
    /// # Errors
    /// The connection's.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn hear(&mut self) -> Result<bool, Error> {
        match self.0.next().await {
            None => Ok(false),
            Some(message) => Ok(!matches!(message?, Message::Close(_))),
        }
    }

    /// Sends one text message.
    ///
    /// # Errors
    /// The connection's.
    pub async fn say(&mut self, text: String) -> Result<(), Error> {
        self.0.send(Message::text(text)).await
    }

    /// What the peer says next.
    ///
    /// # Errors
    /// The connection's; [`Error::Capacity`] for a message that is too long.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn receive(&mut self) -> Result<Received, Error> {
        match self.0.next().await.transpose()? {
            None | Some(Message::Close(_)) => Ok(Received::End),
            Some(Message::Text(text)) => Ok(Received::Text(text)),
            Some(_) => Ok(Received::SignOfLife),
        }
    }

    /// Says goodbye with a code of RFC 6455 §7.4.1.
    ///
    /// # Errors
    /// The connection's.
    pub async fn close(&mut self, code: CloseCode, reason: &'static str) -> Result<(), Error> {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        self.0.close(Some(frame)).await
    }
}
