//! Ctrl-C: whatever is under way, everything that was started is stopped, and nothing else.

use std::fmt;
use std::future::Future;

use anyhow::{Context as _, Result};
use atcr_test_support::network::{adopt_orphans, end_descendants, kill_descendants};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What a shell shows for a program that Ctrl-C ended: 128 and the number of SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// The work was given up because of a signal.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted; everything that was started has been stopped")
    }
}

impl std::error::Error for Interrupted {}

/// Whether SIGINT or SIGTERM came.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    came: watch::Receiver<bool>,
}

impl Interrupt {
    /// Listens from now on. A second signal kills all descendants and ends this process at once.
    pub(crate) fn listen() -> Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
        adopt_orphans().context("cannot adopt orphaned processes")?;
        let (note, came) = watch::channel(false);
        tokio::spawn(async move {
            for is_second in [false, true] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if is_second {
                    kill_descendants();
                    std::process::exit(EXIT_CODE.into());
                }
                note.send_replace(true);
            }
        });
        Ok(Self { came })
    }

    /// Whether the signal came.
    pub(crate) fn has_come(&self) -> bool {
        *self.came.borrow()
    }

    /// Waits for the signal.
    pub(crate) async fn came(&self) {
        // The sender lives as long as the process: waiting ends only with the signal.
        let _ = self.came.clone().wait_for(|came| *came).await;
    }

    /// What `work` comes to; [`Interrupted`] if the signal comes first, and `work` is dropped where it stands.
    pub(crate) async fn or<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.came() => Err(Interrupted.into()),
            outcome = work => match outcome {
                // A child that the terminal's Ctrl-C reached as well fails first.
                Err(_) if self.has_come() => Err(Interrupted.into()),
                outcome => outcome,
            },
        }
    }

    /// Ends what an interrupted command left running: the children of work that was dropped.
    pub(crate) async fn clean_up(&self) {
        end_descendants().await;
    }
}

/// Does `work`, which waits for other programs, where it does not keep signals from being seen. When the future is
/// dropped, the work goes on until the program it waits for is ended.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("the work panicked")?
}
