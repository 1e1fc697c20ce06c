//! How long one job may take. Its time stands still while it waits for something that another job does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often it is looked whether the time goes on.
const LOOK: Duration = Duration::from_millis(500);

/// The time of one job.
#[derive(Debug)]
pub struct JobTime(Mutex<State>);

#[derive(Debug)]
struct State {
    deadline: Instant,
    waits_since: Option<Instant>,
}

impl JobTime {
    /// `time` from now on.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self(Mutex::new(State {
            deadline: Instant::now() + time,
            waits_since: None,
        }))
    }

    /// Waits for `other`, which does not count. One at a time.
    ///
    /// # Cancel safety
    /// As that of `other`; the time goes on when the call is dropped.
    pub async fn without<T>(&self, other: impl Future<Output = T>) -> T {
        struct Waiting<'a>(&'a JobTime);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                let mut state = self.0.lock();
                if let Some(since) = state.waits_since.take() {
                    state.deadline += since.elapsed();
                }
            }
        }
        self.lock().waits_since = Some(Instant::now());
        let _waiting = Waiting(self);
        other.await
    }

    /// Returns when the time is used up.
    pub async fn ended(&self) {
        loop {
            let (deadline, waits) = {
                let state = self.lock();
                (state.deadline, state.waits_since.is_some())
            };
            if waits {
                tokio::time::sleep(LOOK).await;
            } else if Instant::now() >= deadline {
                return;
            } else {
                tokio::time::sleep_until(deadline).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_for_another_job_takes_none_of_the_time() {
        let began = Instant::now();
        let time = JobTime::new(Duration::from_secs(10));
        let work = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            time.without(tokio::time::sleep(Duration::from_mins(5))).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = work => {}
            () = time.ended() => {}
        }
        assert_eq!(began.elapsed().as_secs(), 310);
    }
}
