//! One way to stop: a soft token that ends accepting and starts the drain, a hard token that ends everything.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The shutdown of a process, cloned into everything that must finish or stop.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// A shutdown that nothing has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when new work must no longer be taken.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when the time to finish is over.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Spawns `task` so that [`Shutdown::drain`] waits for it; it is dropped when the hard token is cancelled.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let hard = self.hard.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = hard.cancelled() => {}
                () = task => {}
            }
        })
    }

    /// Asks for the soft shutdown.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Begins the shutdown at the first SIGINT or SIGTERM; a second one ends everything at once.
    ///
    /// # Errors
    /// The operating system's, if a signal handler cannot be installed.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = self.clone();
        // Not tracked: it lives as long as the process.
        tokio::spawn(async move {
            for token in [&shutdown.soft, &shutdown.hard] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                tracing::info!("stopping; a second signal stops at once");
                token.cancel();
            }
        });
        Ok(())
    }

    /// Waits for `start` to end. If the soft shutdown begins first, drops it and returns `None`.
    ///
    /// For what a process does before it serves: it may wait for a lock or read for minutes, and a process that is asked to
    /// stop meanwhile has nothing to finish.
    pub async fn unless_begun<T>(&self, start: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.soft.cancelled() => {
                tracing::info!("stopped before the start was over");
                None
            }
            started = start => Some(started),
        }
    }

    /// Waits until every spawned task is done, at most `grace`; then cancels the hard token and waits for the rest to drop.
    ///
    /// Returns whether everything finished by itself.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.tracker.close();
        let finished = tokio::select! {
            () = self.tracker.wait() => true,
            () = tokio::time::sleep(grace) => false,
            () = self.hard.cancelled() => false,
        };
        self.hard.cancel();
        self.tracker.wait().await;
        finished
    }
}
