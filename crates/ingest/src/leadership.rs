//! Which of several servers on one database follows the streams: the one that has the lease. The others wait for it, and serve meanwhile.
//!
//! A leader that cannot renew its lease stops before the lease is over, so there are never two. What one that slept still writes is refused
//! by the sources' terms ([`IndexWriter::take_source`](atcr_index::ports::IndexWriter::take_source)).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atcr_index::ports::Leases;
use atcr_server::Shutdown;
use atcr_server::supervise::Task;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// The lease's name.
const LEASE: &str = "ingest";

/// How long a lease lasts, and how often it is renewed or tried for: who takes over does so within both together.
const TIME: Duration = Duration::from_secs(6);
const PERIOD: Duration = Duration::from_secs(2);

/// How soon it is tried again after a failure.
const AGAIN: Duration = Duration::from_millis(500);

/// How long before the end of its lease a leader begins to stop that could not renew it.
const MARGIN: Duration = Duration::from_secs(2);

/// How long what a leader did may take to stop; then it is ended. It is shorter than [`MARGIN`], so that all is over before the lease is.
const STEP_DOWN: Duration = Duration::from_secs(1);

/// Whether this server has the lease.
const LEADING: &str = "atcr_index_leading";

/// One server's part in who leads. Clones share it.
#[derive(Clone)]
pub struct Leadership {
    leases: Arc<dyn Leases>,
    holder: String,
    is_leading: Arc<AtomicBool>,
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("holder", &self.holder)
            .field("is_leading", &self.is_leading)
            .finish_non_exhaustive()
    }
}

/// What a leader does. Dropped, it is stopped at once.
struct Reign(Shutdown);

impl Drop for Reign {
    fn drop(&mut self) {
        self.0.begin();
        self.0.hard().cancel();
    }
}

impl Leadership {
    /// Of a server that calls itself `holder`, which no other one does.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>, holder: String) -> Self {
        Self {
            leases,
            holder,
            is_leading: Arc::default(),
        }
    }

    /// Whether this server leads.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.is_leading.load(Ordering::Relaxed)
    }

    /// Waits for the lease until the shutdown, and calls `lead` each time that it is had. What `lead` starts on its shutdown is stopped when
    /// the lease is lost.
    pub fn spawn(self, shutdown: &Shutdown, lead: impl Fn(&Shutdown) + Send + Sync + 'static) {
        let stop = shutdown.clone();
        Task::new("index_leader").spawn(shutdown, async move {
            self.note(false);
            while !stop.soft().is_cancelled() {
                let asked = Instant::now();
                // An answer that comes later is of a lease that is nearly over.
                match timeout(PERIOD, self.leases.hold_lease(LEASE, &self.holder, TIME)).await {
                    Ok(Ok(true)) => self.reign(asked, &stop, &lead).await,
                    Ok(Ok(false)) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the lease of the ingest cannot be asked for now");
                    }
                    Err(_) => {
                        tracing::warn!("the database does not answer when asked for the lease of the ingest");
                    }
                }
                tokio::select! {
                    () = stop.soft().cancelled() => {}
                    () = sleep(PERIOD) => {}
                }
            }
        });
    }

    /// Leads until the lease is lost or the server stops.
    async fn reign(&self, since: Instant, stop: &Shutdown, lead: &(impl Fn(&Shutdown) + Send + Sync)) {
        tracing::info!("this server follows the streams now");
        self.note(true);
        let reign = Reign(Shutdown::new());
        lead(&reign.0);
        let end = self.keep(since, stop).await;
        reign.0.begin();
        let grace = end.saturating_duration_since(Instant::now());
        reign.0.drain(grace.min(STEP_DOWN)).await;
        self.note(false);
        if stop.soft().is_cancelled() {
            if let Err(error) = self.leases.give_up_lease(LEASE, &self.holder).await {
                tracing::debug!(%error, "the lease of the ingest ends by itself");
            }
        } else {
            tracing::warn!(
                "this server no longer follows the streams: another one has the lease, or the database is out of reach"
            );
        }
    }

    /// Renews the lease for as long as that can be done in time. Returns when what the leader does has to be over.
    async fn keep(&self, since: Instant, stop: &Shutdown) -> Instant {
        let mut until = since + TIME - MARGIN;
        let mut pause = PERIOD;
        loop {
            let end = until + STEP_DOWN;
            tokio::select! {
                () = stop.soft().cancelled() => return end,
                () = sleep_until(until.min(Instant::now() + pause)) => {}
            }
            let asked = Instant::now();
            if asked >= until {
                return end;
            }
            match timeout_at(until, self.leases.hold_lease(LEASE, &self.holder, TIME)).await {
                Ok(Ok(true)) => (until, pause) = (asked + TIME - MARGIN, PERIOD),
                // Another server leads already.
                Ok(Ok(false)) => return asked,
                Ok(Err(error)) => {
                    pause = AGAIN;
                    tracing::warn!(%error, "the lease of the ingest could not be renewed; it is tried again");
                }
                Err(_) => return end,
            }
        }
    }

    fn note(&self, is_leading: bool) {
        self.is_leading.store(is_leading, Ordering::Relaxed);
        metrics::gauge!(LEADING).set(if is_leading { 1.0 } else { 0.0 });
    }
}
