//! Why the index could not answer.

use std::error::Error;
use std::sync::Arc;

/// Why a port of the index did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IndexError {
    /// The database failed.
    #[error("the index's database failed")]
    Database(#[source] Arc<dyn Error + Send + Sync>),
    /// The database has a value that nothing of ours writes.
    #[error("the index has a bad value in {0}")]
    Corrupt(&'static str),
    /// The cursor of a source belongs to another process by now. Nothing of the batch is written.
    #[error("the source {0} is followed by another process")]
    Fenced(String),
    /// Too many searches are running.
    #[error("too many searches are running")]
    Busy,
}
