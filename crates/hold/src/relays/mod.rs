//! Relays: those that the configuration names are asked to follow this hold, at the start and when its identity changes.
//!
//! - [`Announcements`]: asks until every relay has agreed, with longer and longer waits
//! - [`RelayApi`]: what is asked of a relay
//! - [`RelayState`]: how far that is
//! - [`seen`]: what relays have got of the hold already

pub mod seen;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::{Datetime, Did, Tid};
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use url::Url;

const TASK: Task = Task::new("relay_announcement");
/// 1 when the relay took the last request, else 0; label `relay`.
const ACCEPTED: &str = "hold_relay_accepted";
/// Requests to relays; labels `relay` and `outcome`.
const REQUESTS: &str = "hold_relay_requests_total";
/// How long after a failure a relay is asked again: at first, and at most.
const RETRY_AFTER: [Duration; 2] = [Duration::from_secs(30), Duration::from_hours(6)];

/// Port: a relay of the network.
#[async_trait]
pub trait RelayApi: fmt::Debug + Send + Sync {
    /// Asks the relay to follow the host `hostname`, a name with its port if that is not the usual one.
    ///
    /// # Errors
    /// Why it was not asked, or does not want to.
    ///
    /// # Spec
    /// `com.atproto.sync.requestCrawl`.
    async fn request_crawl(&self, relay: &Url, hostname: &str) -> Result<(), RelayError>;

    /// What the relay knows of the host.
    ///
    /// # Errors
    /// [`RelayError::Refused`] if it knows nothing.
    ///
    /// # Spec
    /// `com.atproto.sync.getHostStatus`.
    async fn host_status(&self, relay: &Url, hostname: &str) -> Result<HostStatus, RelayError>;

    /// The newest revision that the relay has of the account.
    ///
    /// # Errors
    /// [`RelayError::Refused`] if it has none.
    ///
    /// # Spec
    /// `com.atproto.sync.getLatestCommit`.
    async fn latest_commit(&self, relay: &Url, did: &Did) -> Result<Tid, RelayError>;
}

/// What a relay knows of a host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct HostStatus {
    /// `active`, `idle`, `offline`, `throttled`, `banned`.
    pub status: Option<String>,
    /// The newest event of the host that it has got.
    pub seq: Option<i64>,
}

impl fmt::Display for HostStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.as_deref().unwrap_or("of unknown status");
        match self.seq {
            None => write!(f, "{status}"),
            Some(seq) => write!(f, "{status}, followed up to event {seq}"),
        }
    }
}

/// Why a relay did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// It said no.
    #[error("the relay answered {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It could not be asked.
    #[error("the relay cannot be asked")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// How far the announcement to one relay is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RelayState {
    /// Whether it took the last request.
    pub accepted: bool,
    /// When it took one.
    pub accepted_at: Option<Datetime>,
    /// Requests since then that failed.
    pub failures: u32,
    /// Why the last one failed.
    pub error: Option<String>,
    /// When it is asked again.
    pub next_try: Option<Datetime>,
}

impl RelayState {
    fn new() -> Self {
        Self {
            accepted: false,
            accepted_at: None,
            failures: 0,
            error: None,
            next_try: None,
        }
    }
}

/// The relays, and how far each is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Announcements {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    api: Arc<dyn RelayApi>,
    hostname: String,
    clock: Arc<dyn Clock>,
    states: Mutex<BTreeMap<Url, RelayState>>,
    /// Counts the occasions on which every relay is asked.
    occasion: watch::Sender<u64>,
}

impl Announcements {
    /// Asks each of `relays` to follow `hostname`, now and on every occasion, until the soft shutdown.
    #[must_use]
    pub fn start(
        relays: &[Url],
        hostname: String,
        api: Arc<dyn RelayApi>,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Self {
        let states = relays.iter().map(|relay| (relay.clone(), RelayState::new()));
        let announcements = Self {
            inner: Arc::new(Inner {
                api,
                hostname,
                clock,
                states: Mutex::new(states.collect()),
                occasion: watch::Sender::new(0),
            }),
        };
        for relay in relays {
            let (one, relay) = (announcements.clone(), relay.clone());
            let stop = shutdown.soft().clone();
            TASK.spawn(shutdown, async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = one.keep_announcing(&relay) => {}
                }
            });
        }
        announcements
    }

    /// Asks every relay once more: the identity has changed, or an operator wishes it.
    pub fn announce(&self) {
        self.inner.occasion.send_modify(|occasion| *occasion += 1);
    }

    /// Announces whenever `changes` counts up, until the soft shutdown.
    pub fn announce_after(&self, mut changes: watch::Receiver<u64>, shutdown: &Shutdown) {
        let announcements = self.clone();
        let stop = shutdown.soft().clone();
        TASK.spawn(shutdown, async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = changes.changed() => match changed {
                        Ok(()) => announcements.announce(),
                        Err(_) => return,
                    },
                }
            }
        });
    }

    /// How far each relay is, by its URL.
    #[must_use]
    pub fn states(&self) -> BTreeMap<Url, RelayState> {
        self.inner
            .states
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn keep_announcing(&self, relay: &Url) {
        let mut occasions = self.inner.occasion.subscribe();
        loop {
            let mut wait = RETRY_AFTER[0];
            occasions.mark_unchanged();
            while !self.ask(relay, wait).await {
                // An occasion is a reason to ask at once.
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait = wait.saturating_mul(2).min(RETRY_AFTER[1]),
                    _ = occasions.changed() => wait = RETRY_AFTER[0],
                }
            }
            if occasions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks once; whether the relay agreed.
    async fn ask(&self, relay: &Url, retry_after: Duration) -> bool {
        let inner = &*self.inner;
        let host = relay.host_str().unwrap_or_default().to_owned();
        let asked = inner.api.request_crawl(relay, &inner.hostname).await;
        let outcome = if asked.is_ok() { "ok" } else { "failed" };
        metrics::counter!(REQUESTS, "relay" => host.clone(), "outcome" => outcome).increment(1);
        metrics::gauge!(ACCEPTED, "relay" => host).set(f64::from(u8::from(asked.is_ok())));
        let now = inner.clock.now();
        let mut states = inner.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry(relay.clone()).or_insert_with(RelayState::new);
        state.accepted = asked.is_ok();
        match &asked {
            Ok(()) => {
                tracing::info!(%relay, hostname = inner.hostname, "the relay was asked to follow this hold");
                *state = RelayState {
                    accepted: true,
                    accepted_at: Some(inner.clock.now_datetime()),
                    ..RelayState::new()
                };
            }
            Err(error) => {
                tracing::warn!(
                    %relay, hostname = inner.hostname, error = error as &dyn Error, ?retry_after,
                    "the relay does not follow this hold yet"
                );
                state.failures = state.failures.saturating_add(1);
                state.error = Some(error.to_string());
                state.next_try = Some(Datetime::from(now + retry_after));
            }
        }
        asked.is_ok()
    }
}
