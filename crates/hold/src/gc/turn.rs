//! One run at a time, in a task of its own: it goes on when whoever asked for it leaves, and ends at its next step when the hold stops.

use std::sync::{Arc, PoisonError};

use super::{Gc, GcError, Inner, Progress, RunState};

impl Gc {
    /// Does `work` if no run is under way.
    ///
    /// # Cancel safety
    /// The work goes on when this future is dropped.
    pub(super) async fn alone<T, W>(&self, work: impl FnOnce(Arc<Inner>) -> W) -> Result<T, GcError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, GcError>> + Send + 'static,
    {
        let turn = self.inner.turn.clone().try_lock_owned();
        let turn = turn.map_err(|_| GcError::Busy)?;
        self.inner.require_not_stopping()?;
        let (under_way, work) = (UnderWay(self.inner.clone()), work(self.inner.clone()));
        let doing = tokio::spawn(async move {
            let outcome = work.await;
            drop(under_way);
            drop(turn);
            outcome
        });
        doing.await.unwrap_or(Err(GcError::Interrupted))
    }

    /// Waits until no run is under way.
    pub async fn until_idle(&self) {
        let _turn = self.inner.turn.lock().await;
    }

    /// Lets a run that is under way end at its next step, and begins no other. The first run of the next process goes on with it.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }
}

impl Inner {
    pub(super) fn require_not_stopping(&self) -> Result<(), GcError> {
        if self.stop.is_cancelled() {
            return Err(GcError::Stopping);
        }
        Ok(())
    }

    pub(super) fn under_way(&self) -> Option<Progress> {
        let progress = self
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        progress.map(|progress| Progress {
            reading: reading.iter().cloned().collect(),
            ..progress
        })
    }

    pub(super) fn at(&self, run: i64, state: RunState, done: u64) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(Progress {
            run,
            state,
            done,
            reading: Vec::new(),
        });
    }
}

/// Until it is dropped, a run is under way.
struct UnderWay(Arc<Inner>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.progress.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
