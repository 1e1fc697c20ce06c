//! Blocking work of async callers.

use crate::error::RepoError;

/// Runs work that blocks on the disk on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
) -> Result<T, RepoError> {
    // Fails only when the runtime shuts down, or when the work panics.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(RepoError::Closed))
}
