//! Looking for a blob in several holds.
//!
//! Strangers write the records that name holds, so what one request asks of them is bounded: how many holds, how many at once, and how
//! long all of it takes.

use std::future::Future;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::error::{AccessError, BlobError, RegistryError};
use crate::hold::error::HoldError;

/// Holds asked for one blob, for a caller who signed in.
pub(super) const HOLDS_FOR_SAILORS: usize = 8;

/// Holds asked for one blob, for other callers.
pub(super) const HOLDS_FOR_ANYBODY: usize = 3;

/// Holds that are asked at once.
const AT_ONCE: usize = 3;

/// How long a hold may take before the next one is asked as well.
const HEAD_START: Duration = Duration::from_secs(1);

/// One search and what it has come to so far.
pub(super) struct Search {
    deadline: Instant,
    gravest: RegistryError,
}

impl Search {
    /// A search that takes `patience` at most. `not_found` is its answer when no hold says anything graver.
    pub(super) fn new(patience: Duration, not_found: RegistryError) -> Self {
        Self {
            deadline: Instant::now() + patience,
            gravest: not_found,
        }
    }

    /// What the first of `holds` says that has the blob. They are asked in order; one that does not answer within [`HEAD_START`] does
    /// not hold up the next.
    pub(super) async fn first<T, F, Fut>(&mut self, holds: Vec<Did>, ask: F) -> Option<T>
    where
        F: Fn(Did) -> Fut,
        Fut: Future<Output = Result<Option<T>, RegistryError>>,
    {
        let deadline = self.deadline;
        let ask = |hold: Did| {
            let asked = ask(hold.clone());
            async move {
                let answer = tokio::time::timeout_at(deadline, asked).await;
                answer.unwrap_or(Err(HoldError::TimedOut.of(&hold)))
            }
        };
        let mut waiting = holds.into_iter();
        let mut asked: FuturesUnordered<_> = waiting.next().map(&ask).into_iter().collect();
        while !asked.is_empty() {
            let has_room = asked.len() < AT_ONCE && waiting.len() > 0;
            tokio::select! {
                Some(answer) = asked.next() => match answer {
                    Ok(Some(found)) => return Some(found),
                    Ok(None) => asked.extend(waiting.next().map(&ask)),
                    Err(error) => {
                        self.weigh(error);
                        asked.extend(waiting.next().map(&ask));
                    }
                },
                () = tokio::time::sleep(HEAD_START), if has_room => asked.extend(waiting.next().map(&ask)),
            }
        }
        None
    }

    /// Takes an error into account: "you may not" says more than "it cannot be reached", and that more than "not here".
    pub(super) fn weigh(&mut self, error: RegistryError) {
        if gravity(&error) > gravity(&self.gravest) {
            self.gravest = error;
        }
    }

    /// Why nothing was found.
    pub(super) fn into_error(self) -> RegistryError {
        self.gravest
    }
}

fn gravity(error: &RegistryError) -> u8 {
    match error {
        RegistryError::Blob(BlobError::Unknown { .. }) => 0,
        RegistryError::Hold {
            error: HoldError::Forbidden { .. },
            ..
        } => 2,
        RegistryError::Hold {
            error: HoldError::Unauthorized,
            ..
        }
        | RegistryError::Access(AccessError::SignInRequired | AccessError::SignedOut { .. }) => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn holds(names: &[&str]) -> Vec<Did> {
        names
            .iter()
            .map(|name| format!("did:web:{name}.example").parse().unwrap())
            .collect()
    }

    fn search() -> Search {
        Search::new(
            Duration::from_secs(30),
            RegistryError::Blob(BlobError::Unknown {
                digest: atcr_oci::Digest::of(atcr_oci::Algorithm::Sha256, b"nobody has this"),
            }),
        )
    }

    /// What a hold with a telling name answers.
    async fn answer(hold: Did) -> Result<Option<Did>, RegistryError> {
        match hold.as_str() {
            "did:web:has.example" => Ok(Some(hold)),
            "did:web:silent.example" => std::future::pending().await,
            _ => Ok(None),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_hold_does_not_hide_the_next_and_the_search_ends() {
        let began = Instant::now();
        let found = search().first(holds(&["silent", "lacks", "has"]), answer).await;
        assert_eq!(found, holds(&["has"]).pop());
        assert_eq!(began.elapsed(), HEAD_START);

        let mut search = search();
        assert_eq!(
            search.first(holds(&["silent", "silent", "lacks"]), answer).await,
            None
        );
        assert_eq!(search.first(holds(&["silent"]), answer).await, None);
        assert_eq!(began.elapsed(), HEAD_START + Duration::from_secs(30));
        assert!(matches!(
            search.into_error(),
            RegistryError::Hold {
                error: HoldError::TimedOut,
                ..
            }
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn only_some_holds_are_asked_at_once() {
        let most = Mutex::new((0, 0));
        let ask = |_| async {
            {
                let mut counts = most.lock().unwrap();
                counts.0 += 1;
                counts.1 = counts.1.max(counts.0);
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
            most.lock().unwrap().0 -= 1;
            Ok(None::<()>)
        };
        assert_eq!(search().first(holds(&["lacks"; 8]), ask).await, None);
        assert_eq!(most.lock().unwrap().1, AT_ONCE);
    }
}
