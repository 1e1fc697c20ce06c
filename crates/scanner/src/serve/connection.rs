//! The connection to the hold, made again whenever it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atcr_atproto::egress::EgressClient;
use atcr_scan_protocol::{Cursor, DatabaseInUse, HoldMessage, Subscription};
use chrono::{DateTime, Utc};
use http::HeaderValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::jobs::{Jobs, Subject, Taken, release};
use crate::adapters::socket::{Received, Socket, SocketError};
use crate::database::Databases;

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
    /// The job that it answers, with the number under which it was known when this was written.
    pub answers: Option<(Subject, u64)>,
    /// Hears when it is sent; false if it is not, because the job has another number now.
    pub sent: Option<oneshot::Sender<bool>>,
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
    /// The vulnerability databases; `None` when nothing is looked up.
    pub databases: Option<Arc<Databases>>,
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
        let mut life = Life::new();
        // What this hold was told of the database.
        let mut told = None;
        loop {
            if let Some(message) = unsent.take() {
                if let Err(error) = self.send(&mut socket, message, unsent).await {
                    return End::Broken(error.to_string());
                }
                life.has_sent();
            }
            tokio::select! {
                received = socket.receive() => {
                    life.has_heard();
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
                    if life.is_over() {
                        socket.close().await;
                        return End::Broken("the hold is silent".to_owned());
                    }
                    if let Err(error) = self.keep(&mut socket, &mut life, &mut told).await {
                        return End::Broken(error.to_string());
                    }
                }
            }
        }
    }

    /// Sends a message; if that fails, it is kept for the next connection.
    async fn send(
        &self,
        socket: &mut Socket,
        mut message: Outgoing,
        unsent: &mut Option<Outgoing>,
    ) -> Result<(), SocketError> {
        // Before the hold hears of it: it may then send the same image again.
        if let Some((subject, seq)) = message.answers.take()
            && !self.jobs.done(&subject, seq)
        {
            if let Some(sent) = message.sent {
                let _ = sent.send(false);
            }
            return Ok(());
        }
        if let Err(error) = socket.send(message.text.clone()).await {
            *unsent = Some(message);
            return Err(error);
        }
        if let Some(sent) = message.sent {
            // Whoever asked may be gone.
            let _ = sent.send(true);
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
            Taken::Closed => tracing::debug!(seq, %digest, "a job came, and this scanner stops"),
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

    async fn keep(
        &self,
        socket: &mut Socket,
        life: &mut Life,
        told: &mut Option<DateTime<Utc>>,
    ) -> Result<(), SocketError> {
        let current = self.databases.as_ref().and_then(|databases| databases.current());
        let built = current.map(|generation| generation.status().built);
        if let Some(built) = built
            && socket.understands_databases
            && *told != Some(built)
        {
            socket.send(DatabaseInUse { built }.encode().into()).await?;
            *told = Some(built);
            life.has_sent();
        }
        for progress in self.jobs.renewals() {
            socket.send(progress.encode().into()).await?;
            life.has_sent();
        }
        if life.wants_sign() {
            socket.ping().await?;
            life.has_asked();
        }
        Ok(())
    }
}

/// Whether the hold is still there. Nothing is read while a long message is sent, so what counts is how long it owes an answer.
struct Life {
    heard: Instant,
    /// Since when it owes an answer.
    asked: Option<Instant>,
}

impl Life {
    fn new() -> Self {
        Self {
            heard: Instant::now(),
            asked: None,
        }
    }

    fn has_heard(&mut self) {
        *self = Self::new();
    }

    /// The hold has taken what was sent; an answer that came meanwhile is still to be read.
    fn has_sent(&mut self) {
        self.heard = Instant::now();
        self.asked = self.asked.map(|_| self.heard);
    }

    fn wants_sign(&self) -> bool {
        self.asked.is_none() && self.heard.elapsed() > PING
    }

    fn has_asked(&mut self) {
        self.asked = Some(Instant::now());
    }

    fn is_over(&self) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() > SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hold_is_silent_when_it_owes_an_answer_and_not_when_a_message_takes_long() {
        let mut life = Life::new();
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(life.wants_sign() && !life.is_over());
        life.has_asked();
        // Minutes of sending, in which nothing is read.
        tokio::time::advance(Duration::from_mins(5)).await;
        life.has_sent();
        assert!(!life.is_over());
        life.has_heard();
        tokio::time::advance(Duration::from_mins(5)).await;
        assert!(!life.is_over() && life.wants_sign());
        life.has_asked();
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(life.is_over());
    }
}
