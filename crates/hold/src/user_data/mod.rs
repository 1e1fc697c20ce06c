//! What the hold knows of one user: told to them, and erased for them.
//!
//! - [`UserData`]: the use cases
//! - `export`: everything as one JSON document, written while it is sent
//! - `erase`: what goes at once, and the note that it went
//! - [`Erasures`]: the port: who was erased, and when

mod erase;
mod export;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_server::KeyedLocks;
use chrono::{DateTime, Utc};

use crate::crew::CrewTurns;
use crate::manifests::{CountingError, Counts, ManifestNotices};

pub use erase::Erased;

/// Port: who asked to be erased. What they had pushed by then is not recorded any more and keeps no blob, also if they join again, until it
/// is pushed again.
#[async_trait]
pub trait Erasures: fmt::Debug + Send + Sync {
    /// Notes that `user` was erased at `at`, and forgets pushes of theirs that wait to be recorded, and their handle. Returns when that
    /// survives a power failure.
    ///
    /// # Errors
    /// The table's.
    async fn note(&self, user: &Did, at: DateTime<Utc>) -> Result<(), ErasuresError>;

    /// When `user` was erased for the last time; `None`: never.
    ///
    /// # Errors
    /// The table's.
    async fn erased_at(&self, user: &Did) -> Result<Option<DateTime<Utc>>, ErasuresError>;
}

/// The table of erasures cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the table of erasures cannot be read or written")]
pub struct ErasuresError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Why a user's data was not told or not erased.
#[derive(Debug, thiserror::Error)]
pub enum UserDataError {
    /// The repository failed.
    #[error("the records cannot be read or written")]
    Repo(#[from] RepoError),
    /// The counts failed.
    #[error("the counts cannot be read or written")]
    Counts(#[from] CountingError),
    /// The note could not be written.
    #[error(transparent)]
    Erasures(#[from] ErasuresError),
    /// The process is stopping.
    #[error("the hold is stopping")]
    Stopped,
}

/// The use cases. Clones share everything.
#[derive(Clone, Debug)]
pub struct UserData {
    repo: HoldRepo,
    counts: Counts,
    notices: ManifestNotices,
    erasures: Arc<dyn Erasures>,
    turns: CrewTurns,
    /// One erasure of a user at a time.
    erasing: Arc<KeyedLocks<Did>>,
    clock: Arc<dyn Clock>,
}

impl UserData {
    /// Works on the hold's repository and counts, waits for what `notices` write, and shares `turns` with everything else that writes crew records.
    #[must_use]
    pub fn new(
        repo: HoldRepo,
        counts: Counts,
        notices: ManifestNotices,
        erasures: Arc<dyn Erasures>,
        turns: CrewTurns,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            repo,
            counts,
            notices,
            erasures,
            turns,
            erasing: Arc::default(),
            clock,
        }
    }
}
