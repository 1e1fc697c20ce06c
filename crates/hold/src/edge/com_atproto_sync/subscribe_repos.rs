//! `com.atproto.sync.subscribeRepos`: the events of the repository over a WebSocket.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use atcr_hold_pds::RepoError;
use atcr_repo::firehose::{error, info};
use atcr_server::Shutdown;
use atcr_server::client_address::ClientAddress;
use atcr_server::supervise::Task;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;
use crate::edge::websocket::{PendingSocket, WebSocket, WebSocketUpgrade};
use crate::firehose::{Begin, Firehose, FirehoseLimits, Page, Place, Subscription};

const TASK: Task = Task::new("subscriber");
/// Events that were handed to subscribers' sockets.
const SENT: &str = "hold_firehose_events_sent_total";
/// How long a goodbye may take to be sent.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Where to begin: after the event of that `seq`; 0 for the oldest there is, nothing for the next one.
#[derive(Debug, Deserialize)]
pub struct Input {
    cursor: Option<String>,
}

/// The events of the repository, and what handlers need to serve them.
#[derive(Clone, Debug)]
pub struct Subscribers {
    /// The events.
    pub firehose: Firehose,
    /// The end of the subscriptions: when the last event of the process is written.
    pub shutdown: Shutdown,
}

/// Sends every event, from the one that the client asks for.
pub async fn subscribe_repos(
    State(subscribers): State<Subscribers>,
    client: Option<Extension<ClientAddress>>,
    XrpcQuery(input): XrpcQuery<Input>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, EdgeError> {
    let cursor = match input.cursor.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| EdgeError::InvalidRequest {
            message: "cursor must be a whole number, 0 or greater".to_owned(),
        })?),
    };
    let Subscribers { firehose, shutdown } = subscribers;
    let address = client.map(|Extension(client)| client);
    let place = firehose.admit(address.as_ref())?;
    let (answer, socket) = upgrade.accept();
    let from = address.and_then(|client| client.own);
    let stop = shutdown.clone();
    TASK.spawn(&shutdown, serve(socket, firehose, place, cursor, from, stop));
    Ok(answer)
}

/// Why a subscription ended.
#[derive(Debug)]
enum End {
    Left,
    Stalled,
    Silent,
    Future,
    TooSlow,
    Stopping,
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "the subscriber left",
            Self::Stalled => "the subscriber took no byte for too long",
            Self::Silent => "the subscriber answered no ping",
            Self::Future => "its cursor is newer than all events",
            Self::TooSlow => "events that it has not got are not kept any more",
            Self::Stopping => "the hold stops",
            Self::Failed(what) => what,
        })
    }
}

impl From<SocketError> for End {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Self::Stalled,
            SocketError::ConnectionClosed
            | SocketError::AlreadyClosed
            | SocketError::Io(_)
            | SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Left,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<RepoError> for End {
    fn from(error: RepoError) -> Self {
        match error {
            RepoError::TooSlow => Self::TooSlow,
            RepoError::Closed => Self::Stopping,
            error => {
                tracing::error!(%error, "events cannot be read for a subscriber");
                Self::Failed(error.to_string())
            }
        }
    }
}

async fn serve(
    socket: PendingSocket,
    firehose: Firehose,
    place: Place,
    cursor: Option<u64>,
    from: Option<IpAddr>,
    shutdown: Shutdown,
) {
    let peer = from.map_or_else(|| "unknown".to_owned(), |from| from.to_string());
    let mut socket = match socket.open().await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, %peer, "a subscriber left before it got an answer");
            return;
        }
    };
    let head = firehose.head();
    tracing::info!(%peer, cursor, head, "a subscriber follows the repository");
    let started = Instant::now();
    let mut sent = 0;
    let limits = firehose.limits().clone();
    let end = match begin(&mut socket, &firehose, place, cursor).await {
        Err(end) => end,
        Ok(subscription) => {
            if cursor.is_none()
                && let Err(error) = firehose.break_silence(subscription.seq()).await
            {
                tracing::warn!(%error, "a new subscriber could not be told of the identity");
            }
            let mut stream = EventStream {
                socket: &mut socket,
                subscription,
                sent: &mut sent,
                heard: Instant::now(),
            };
            tokio::select! {
                end = stream.run(&limits, &shutdown) => end,
                () = over(&limits, &shutdown) => End::Stopping,
            }
        }
    };
    let goodbye = goodbye(&mut socket, &end);
    let is_polite = tokio::time::timeout(GOODBYE_WITHIN, goodbye).await;
    if !matches!(is_polite, Ok(Ok(()))) {
        tracing::debug!(%peer, "a subscriber did not get a goodbye");
    }
    let seconds = started.elapsed().as_secs();
    tracing::info!(%peer, sent, seconds, reason = %end, "a subscription ended");
}

/// Where the subscriber begins; tells it if that is not where it wanted to.
async fn begin(
    socket: &mut WebSocket,
    firehose: &Firehose,
    place: Place,
    cursor: Option<u64>,
) -> Result<Subscription, End> {
    match firehose.subscribe(place, cursor) {
        Begin::At(subscription) => Ok(subscription),
        Begin::Outdated(subscription) => {
            let frame = message(info(
                "OutdatedCursor",
                "events after the cursor are not kept any more; these are the oldest",
            ))?;
            socket.feed(&frame).await?;
            Ok(subscription)
        }
        Begin::Future => Err(End::Future),
    }
}

fn message(encoded: Result<Bytes, atcr_repo::DataError>) -> Result<Bytes, End> {
    encoded.map_err(|error| End::Failed(error.to_string()))
}

/// The last message, if the end has one, and the close.
async fn goodbye(socket: &mut WebSocket, end: &End) -> Result<(), End> {
    let (last, code, reason) = match end {
        End::Left | End::Stalled => return Ok(()),
        End::Future => (
            Some(("FutureCursor", "the cursor is newer than all events")),
            CloseCode::Normal,
            "FutureCursor",
        ),
        End::TooSlow => (
            Some(("ConsumerTooSlow", "the next events are not kept any more")),
            CloseCode::Normal,
            "ConsumerTooSlow",
        ),
        End::Silent => (None, CloseCode::Policy, "no answer to a ping"),
        End::Stopping => (None, CloseCode::Away, "the hold stops"),
        End::Failed(_) => (None, CloseCode::Error, "the hold failed"),
    };
    if let Some((name, text)) = last {
        let frame = message(error(name, text))?;
        socket.feed(&frame).await?;
    }
    socket.close(code, reason).await?;
    // The peer answers with a close of its own, and gets the connection's end after that.
    while socket.hear().await? {}
    Ok(())
}

/// One subscriber that gets events.
struct EventStream<'a> {
    socket: &'a mut WebSocket,
    subscription: Subscription,
    sent: &'a mut u64,
    /// The last sign of life.
    heard: Instant,
}

/// Ends when the time is over that subscribers have after the shutdown began.
async fn over(limits: &FirehoseLimits, shutdown: &Shutdown) {
    shutdown.soft().cancelled().await;
    tokio::time::sleep(limits.drain_within).await;
}

impl EventStream<'_> {
    async fn run(&mut self, limits: &FirehoseLimits, shutdown: &Shutdown) -> End {
        let ended = self.follow(limits, shutdown).await;
        ended.err().unwrap_or(End::Stopping)
    }

    /// Until the shutdown, and then up to the newest event.
    async fn follow(&mut self, limits: &FirehoseLimits, shutdown: &Shutdown) -> Result<(), End> {
        let mut pings = interval_at(Instant::now() + limits.ping_interval, limits.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let page = {
                // Stays over what the subscriber says, which must not make the hold read anew.
                let mut next = pin!(self.subscription.next());
                loop {
                    tokio::select! {
                        () = shutdown.soft().cancelled() => break None,
                        said = self.socket.hear() => {
                            if !said? {
                                return Err(End::Left);
                            }
                            self.heard = Instant::now();
                        }
                        _ = pings.tick() => {
                            if self.heard.elapsed() >= limits.pong_within {
                                return Err(End::Silent);
                            }
                            self.socket.ping().await?;
                        }
                        page = &mut next => break Some(page?),
                    }
                }
            };
            let Some(page) = page else { break };
            self.send(&page).await?;
        }
        while let Some(page) = self.subscription.rest().await? {
            self.send(&page).await?;
        }
        Ok(())
    }

    async fn send(&mut self, page: &Page) -> Result<(), End> {
        let mut has_waited = false;
        {
            let socket = &mut *self.socket;
            let mut work = pin!(async {
                for frame in &page.frames {
                    socket.feed(frame).await?;
                }
                socket.flush().await
            });
            poll_fn(|context| {
                let state = work.as_mut().poll(context);
                has_waited |= state.is_pending();
                state
            })
            .await?;
        }
        // The peer made room, so it lives, though a pong may stand behind what it still has to read.
        if has_waited {
            self.heard = Instant::now();
        }
        self.subscription.sent(page);
        let count = page.frames.len() as u64;
        *self.sent += count;
        metrics::counter!(SENT).increment(count);
        Ok(())
    }
}
