//! `io.atcr.hold.subscribeScanJobs`: jobs for a scanner over a WebSocket, and what it found.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use atcr_scan_protocol::bounds::{MAX_RESULT_MESSAGE_BYTES, MAX_SMALL_MESSAGE_BYTES};
use atcr_scan_protocol::{ScannerMessage, Subject, Subscription, UNDERSTANDS, UNDERSTANDS_HEADER};
use atcr_server::Shutdown;
use atcr_server::client_address::ClientAddress;
use atcr_server::supervise::Task;
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as SocketError, Utf8Bytes};

use crate::edge::com_atproto_sync::subscribe_repos::Subscribers;
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;
use crate::edge::scanner::Scanner;
use crate::edge::websocket::{PendingSocket, Received, WebSocket, WebSocketUpgrade};
use crate::scanning::{ScanTableError, ScannerSession, Scanning};

const TASK: Task = Task::new("scanner");
/// How long one message may take to arrive.
const MESSAGE_WITHIN: Duration = Duration::from_mins(10);
/// How long a goodbye may take to be sent, and the giving back of jobs.
const GOODBYE_WITHIN: Duration = Duration::from_secs(5);

/// Where to begin, and how many jobs at once.
#[derive(Debug, Deserialize)]
pub struct Input {
    cursor: Option<String>,
    workers: Option<String>,
}

/// Gives jobs to a scanner as it has room for them, and takes its results.
pub async fn subscribe_scan_jobs(
    State(scanning): State<Scanning>,
    State(subscribers): State<Subscribers>,
    _: Scanner,
    client: Option<Extension<ClientAddress>>,
    XrpcQuery(input): XrpcQuery<Input>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, EdgeError> {
    let subscription = Subscription::parse(input.cursor.as_deref(), input.workers.as_deref());
    let subscription = subscription.map_err(|error| EdgeError::InvalidRequest {
        message: error.to_string(),
    })?;
    let session = scanning.connect(subscription)?;
    let longest = if subscription.workers.is_some() {
        MAX_SMALL_MESSAGE_BYTES
    } else {
        MAX_RESULT_MESSAGE_BYTES
    };
    let (mut answer, socket) = upgrade.accept();
    let understands = HeaderValue::from_static(UNDERSTANDS);
    answer.headers_mut().insert(UNDERSTANDS_HEADER, understands);
    let from = client.and_then(|Extension(client)| client.own);
    let stop = subscribers.shutdown.clone();
    TASK.spawn(
        &subscribers.shutdown,
        serve(socket, session, scanning, longest, from, stop),
    );
    Ok(answer)
}

/// Why a scanner's connection ended.
#[derive(Debug)]
enum End {
    Left,
    Silent,
    Malformed(String),
    Stopping,
    Table(ScanTableError),
    Socket(SocketError),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the scanner left"),
            Self::Silent => f.write_str("the scanner answered no ping"),
            Self::Malformed(what) => f.write_str(what),
            Self::Stopping => f.write_str("the hold stops"),
            Self::Table(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
        }
    }
}

impl From<SocketError> for End {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::ConnectionClosed | SocketError::AlreadyClosed => Self::Left,
            error => Self::Socket(error),
        }
    }
}

impl From<ScanTableError> for End {
    fn from(error: ScanTableError) -> Self {
        Self::Table(error)
    }
}

impl End {
    /// What the scanner is told. The text of an error may repeat what the scanner said.
    fn goodbye(&self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::Left => None,
            Self::Silent => Some((CloseCode::Policy, "no answer to a ping")),
            Self::Malformed(_) => Some((CloseCode::Policy, "the message is not valid")),
            Self::Stopping => Some((CloseCode::Away, "the hold stops")),
            Self::Table(_) => Some((CloseCode::Error, "the hold failed")),
            Self::Socket(SocketError::Capacity(_)) => Some((CloseCode::Size, "the message is too long")),
            Self::Socket(_) => None,
        }
    }
}

async fn serve(
    socket: PendingSocket,
    mut session: ScannerSession,
    scanning: Scanning,
    longest: usize,
    from: Option<IpAddr>,
    shutdown: Shutdown,
) {
    let peer = from.map_or_else(|| "unknown".to_owned(), |from| from.to_string());
    let mut socket = match socket.open_for_messages(longest).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, %peer, "a scanner left before it got an answer");
            return;
        }
    };
    tracing::info!(%peer, "a scanner is connected");
    let end = match follow(&mut socket, &mut session, &scanning, &shutdown).await {
        Ok(()) => End::Stopping,
        Err(end) => end,
    };
    if matches!(end, End::Malformed(_) | End::Table(_)) {
        tracing::warn!(%peer, reason = %end, "the connection of a scanner ends");
    }
    let parting = async {
        // A hold that stops keeps the leases: the scanner goes on, and delivers to the next process.
        if !matches!(end, End::Stopping)
            && let Err(error) = session.lost().await
        {
            tracing::error!(%error, "jobs of a lost scanner wait for the end of their leases");
        }
        if let Some((code, reason)) = end.goodbye() {
            let _ = socket.close(code, reason).await;
        }
    };
    if tokio::time::timeout(GOODBYE_WITHIN, parting).await.is_err() {
        tracing::debug!(%peer, "a scanner did not take its goodbye");
    }
    tracing::info!(%peer, reason = %end, "a scanner is gone");
}

/// Until the shutdown.
async fn follow(
    socket: &mut WebSocket,
    session: &mut ScannerSession,
    scanning: &Scanning,
    shutdown: &Shutdown,
) -> Result<(), End> {
    let (ping_interval, pong_within) = scanning.patience();
    let mut ready = scanning.watch_ready();
    let mut pings = interval_at(Instant::now() + ping_interval, ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut whole) = (Instant::now(), Instant::now());
    let mut read = socket.bytes_read();
    loop {
        // What becomes ready from here on is noticed below.
        ready.mark_unchanged();
        while session.has_room() && !shutdown.soft().is_cancelled() {
            let Some(job) = session.take().await? else {
                break;
            };
            let text = job.encode().map_err(|error| End::Malformed(error.to_string()))?;
            socket.say(text).await?;
        }
        tokio::select! {
            () = shutdown.soft().cancelled() => return Ok(()),
            received = socket.receive() => {
                match received? {
                    Received::Text(text) => take_message(session, scanning, text).await?,
                    Received::SignOfLife => {}
                    Received::End => return Err(End::Left),
                }
                // Keeping a long result took its time.
                (heard, whole) = (Instant::now(), Instant::now());
            }
            _ = pings.tick() => {
                // A pong waits behind a long message that is on its way.
                if socket.bytes_read() > read && whole.elapsed() < MESSAGE_WITHIN {
                    heard = Instant::now();
                }
                read = socket.bytes_read();
                if heard.elapsed() >= pong_within {
                    return Err(End::Silent);
                }
                session.prune().await?;
                socket.ping().await?;
            }
            changed = ready.changed(), if session.has_room() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// A result that cannot be read is the failure of the job that it names; any other such message ends the connection.
async fn take_message(session: &mut ScannerSession, scanning: &Scanning, text: Utf8Bytes) -> Result<(), End> {
    // One long message at a time is read and kept, on a thread that may take its time; its text is gone before it is kept.
    let (_turn, read) = if text.len() > MAX_SMALL_MESSAGE_BYTES {
        let turn = scanning.long_message().await;
        let reading = tokio::task::spawn_blocking(move || read(&text));
        let read = reading
            .await
            .unwrap_or_else(|error| Err((None, error.to_string())));
        (turn, read)
    } else {
        (None, read(&text))
    };
    match read {
        Ok(message) => Ok(session.heard(message).await?),
        Err((Some(subject), why)) if session.cannot_read(&subject, &why).await? => Ok(()),
        Err((_, why)) => Err(End::Malformed(why)),
    }
}

fn read(text: &str) -> Result<ScannerMessage, (Option<Subject>, String)> {
    ScannerMessage::decode(text).map_err(|error| (Subject::of_result(text), error.to_string()))
}
