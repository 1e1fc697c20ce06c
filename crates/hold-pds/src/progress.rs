//! How far a long command is.

use std::fmt;
use std::sync::Arc;

type Report = dyn Fn(&'static str, u64) + Send + Sync;

/// Told of each step of a long command: what is being done, and how many of it are done.
#[derive(Clone)]
pub struct Progress(Arc<Report>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

impl Progress {
    /// Calls `report` with each step. It is called often and should do little.
    pub fn new(report: impl Fn(&'static str, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Tells no one.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_, _| ())
    }

    pub(crate) fn step(&self, what: &'static str, count: u64) {
        (self.0)(what, count);
    }
}
