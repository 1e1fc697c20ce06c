//! One request at a time per upload session; a second one is refused and does not wait.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use atcr_oci::UploadSessionId;

/// The sessions that a request is working on at this moment.
#[derive(Clone, Default)]
pub struct SessionGuards {
    busy: Arc<Mutex<HashSet<UploadSessionId>>>,
}

impl SessionGuards {
    /// Claims `session`; `None` when another request has it. The claim ends when the guard is dropped, however that comes.
    pub fn claim(&self, session: &UploadSessionId) -> Option<SessionGuard> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(session.clone()).then(|| SessionGuard {
            busy: Arc::clone(&self.busy),
            session: session.clone(),
        })
    }
}

/// The right to work on one session.
pub struct SessionGuard {
    busy: Arc<Mutex<HashSet<UploadSessionId>>>,
    session: UploadSessionId,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_claimed_once_and_free_again_after() {
        let guards = SessionGuards::default();
        let (one, other) = (UploadSessionId::random(), UploadSessionId::random());
        let guard = guards.claim(&one);
        assert!(guard.is_some());
        assert!(guards.claim(&one).is_none());
        assert!(guards.claim(&other).is_some());
        drop(guard);
        assert!(guards.claim(&one).is_some());
    }
}
