//! The connection to the hold, made again whenever it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atcr_atproto::egress::EgressClient;
use atcr_scan_protocol::{Cursor, HoldMessage, Subscription};
use http::HeaderValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::jobs::{Jobs, Taken, release};
use crate::adapters::socket::{Received, Socket, SocketError};

/// Pauses between tries, from and up to.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A connection that lasted this long worked.
const WORKED: Duration = Duration::from_mins(1);

/// How often leases are looked at and the hold is asked for a sign of life.
const TICK: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_mins(1);

/// Connections; label `outcome` (`connected`, `refused`, `failed`).
const CONNECTIONS: &str = "atcr_scanner_connections_total";

/// A message for the hold.
#[derive(Debug)]
pub struct Outgoing {
    /// The text frame.
    pub text: Utf8Bytes,
    /// Hears when it is sent.
    pub sent: Option<oneshot::Sender<()>>,
}

/// The connection.
pub struct Connection {
    /// The hold.
    pub base: Url,
    /// What connects to it.
    pub client: EgressClient,
    /// The shared secret.
    pub secret: HeaderValue,
    /// How many scans are done at the same time.
    pub workers: u16,
    /// The jobs.
    pub jobs: Arc<Jobs>,
    /// What is to be sent. When all senders are gone, the connection ends.
    pub outgoing: mpsc::Receiver<Outgoing>,
    /// Whether there is a connection.
    pub is_connected: Arc<AtomicBool>,
    /// When it is cancelled, no new connection is made.
    pub stop: CancellationToken,
}

/// Why a connection ended.
enum End {
    /// Everything is said.
    Done,
    /// It broke, or the hold ended it.
    Broken(String),
}

impl Connection {
    /// Keeps a connection until the senders of what is to be sent are gone.
    pub async fn run(mut self) {
        let mut pause = SHORTEST_PAUSE;
        // What could not be sent over the last connection.
        let mut unsent = None;
        loop {
            let connecting = self.connect();
            let connected = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                connected = connecting => connected,
            };
            let began = Instant::now();
            match connected {
                Ok(socket) => {
                    metrics::counter!(CONNECTIONS, "outcome" => "connected").increment(1);
                    tracing::info!(hold = %self.base, workers = self.workers, "connected to the hold");
                    self.is_connected.store(true, Ordering::Relaxed);
                    let end = self.talk(socket, &mut unsent).await;
                    self.is_connected.store(false, Ordering::Relaxed);
                    match end {
                        End::Done => return,
                        End::Broken(why) => tracing::info!(why, "the connection to the hold ended"),
                    }
                }
                Err(error) => {
                    let is_refused = !matches!(error, SocketError::Broken(_));
                    let outcome = if is_refused { "refused" } else { "failed" };
                    metrics::counter!(CONNECTIONS, "outcome" => outcome).increment(1);
                    tracing::warn!(hold = %self.base, %error, "cannot connect to the hold");
                    if is_refused {
                        // Only the operator can change that.
                        pause = LONGEST_PAUSE;
                    }
                }
            }
            if began.elapsed() > WORKED {
                pause = SHORTEST_PAUSE;
            }
            let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            pause = (pause * 2).min(LONGEST_PAUSE);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(jittered) => {}
            }
        }
    }

    async fn connect(&self) -> Result<Socket, SocketError> {
        let subscription = Subscription {
            cursor: self.jobs.cursor().map_or(Cursor::Waiting, Cursor::After),
            workers: Some(self.workers),
        };
        Socket::connect(&self.base, subscription, &self.secret, &self.client).await
    }

    async fn talk(&mut self, mut socket: Socket, unsent: &mut Option<Outgoing>) -> End {
        let mut ticks = tokio::time::interval(TICK);
        let mut last_life = Instant::now();
        let mut last_ping = Instant::now();
        loop {
            if let Some(message) = unsent.take()
                && let Err(error) = self.send(&mut socket, message, unsent).await
            {
                return End::Broken(error.to_string());
            }
            tokio::select! {
                received = socket.receive() => {
                    last_life = Instant::now();
                    match received {
                        Ok(Received::Text(text)) => {
                            if let Err(error) = self.hear(&mut socket, &text).await {
                                return End::Broken(error.to_string());
                            }
                        }
                        Ok(Received::Life) => {}
                        Ok(Received::End) => return End::Broken("the hold ended it".to_owned()),
                        Err(error) => return End::Broken(error.to_string()),
                    }
                }
                message = self.outgoing.recv() => match message {
                    Some(message) => *unsent = Some(message),
                    None => {
                        socket.close().await;
                        return End::Done;
                    }
                },
                _ = ticks.tick() => {
                    if let Err(error) = self.keep(&mut socket, &mut last_ping).await {
                        return End::Broken(error.to_string());
                    }
                    if last_life.elapsed() > SILENCE {
                        return End::Broken("the hold is silent".to_owned());
                    }
                }
            }
        }
    }

    /// Sends a message; if that fails, it is kept for the next connection.
    async fn send(
        &self,
        socket: &mut Socket,
        message: Outgoing,
        unsent: &mut Option<Outgoing>,
    ) -> Result<(), SocketError> {
        if let Err(error) = socket.send(message.text.clone()).await {
            *unsent = Some(message);
            return Err(error);
        }
        if let Some(sent) = message.sent {
            // Whoever asked may be gone.
            let _ = sent.send(());
        }
        Ok(())
    }

    async fn hear(&self, socket: &mut Socket, text: &str) -> Result<(), SocketError> {
        let job = match HoldMessage::decode(text) {
            Ok(HoldMessage::Job(job)) => *job,
            Ok(HoldMessage::Unknown) => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a message of the hold cannot be read");
                return Ok(());
            }
        };
        let given_back = release(&job);
        let (seq, digest) = (job.seq, job.digest.clone());
        match self.jobs.take(job) {
            Taken::Waits => tracing::debug!(seq, %digest, "a job came"),
            Taken::Known => tracing::debug!(seq, %digest, "a job came that is here already"),
            Taken::Full => {
                tracing::warn!(seq, %digest, "a job came for which there is no room; SCANNER_QUEUE_SIZE says how much there is");
                if let Some(release) = given_back {
                    socket.send(release.encode().into()).await?;
                }
            }
        }
        Ok(())
    }

    async fn keep(&self, socket: &mut Socket, last_ping: &mut Instant) -> Result<(), SocketError> {
        for progress in self.jobs.renewals() {
            socket.send(progress.encode().into()).await?;
        }
        if last_ping.elapsed() > PING {
            *last_ping = Instant::now();
            socket.ping().await?;
        }
        Ok(())
    }
}
