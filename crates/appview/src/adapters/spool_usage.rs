//! How many bytes the spool has on the disk, of each account and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atcr_atproto::syntax::Did;
use atcr_oci::UploadSessionId;
use atcr_registry::upload::ports::SpoolError;

/// Most bytes in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Of the uploads of one account, which never has more here than is left for others.
    pub account_bytes: u64,
    /// Of all uploads.
    pub total_bytes: u64,
}

/// What is on the disk. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct SpoolUsage {
    limits: SpoolLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    total: u64,
    accounts: HashMap<Did, u64>,
    sessions: HashMap<UploadSessionId, Session>,
}

#[derive(Debug, Default)]
struct Session {
    /// Unknown of what an earlier run left, until the session is gone on with.
    owner: Option<Did>,
    parts: HashMap<u32, u64>,
}

impl SpoolUsage {
    pub(super) fn new(limits: SpoolLimits) -> Self {
        Self {
            limits,
            state: Arc::default(),
        }
    }

    /// Says whose session this is.
    pub(super) fn own(&self, session: &UploadSessionId, owner: &Did) {
        let mut state = self.lock();
        let entry = state.sessions.entry(session.clone()).or_default();
        if entry.owner.is_some() {
            return;
        }
        entry.owner = Some(owner.clone());
        let bytes: u64 = entry.parts.values().sum();
        *state.accounts.entry(owner.clone()).or_default() += bytes;
    }

    /// Notes that a part has `len` bytes, whatever it had before.
    pub(super) fn set(&self, session: &UploadSessionId, part: u32, len: u64) {
        let mut state = self.lock();
        let entry = state.sessions.entry(session.clone()).or_default();
        let before = entry.parts.insert(part, len).unwrap_or_default();
        let owner = entry.owner.clone();
        state.change(owner.as_ref(), before, len);
    }

    /// Takes room for `more` bytes of a part.
    ///
    /// # Errors
    /// [`SpoolError::AccountFull`], [`SpoolError::Full`] when there is none; nothing is taken then.
    pub(super) fn grow(&self, session: &UploadSessionId, part: u32, more: u64) -> Result<(), SpoolError> {
        let mut state = self.lock();
        let owner = state.sessions.get(session).and_then(|entry| entry.owner.clone());
        let of_account = owner
            .as_ref()
            .and_then(|owner| state.accounts.get(owner))
            .copied();
        let own = of_account.unwrap_or_default().saturating_add(more);
        if own > self.limits.account_bytes {
            return Err(SpoolError::AccountFull {
                limit: self.limits.account_bytes,
            });
        }
        // No account has more than is left for others, so that few accounts that take all they can leave room for the next.
        let total = state.total.saturating_add(more);
        if total > self.limits.total_bytes || own > self.limits.total_bytes - total {
            return Err(SpoolError::Full);
        }
        let entry = state.sessions.entry(session.clone()).or_default();
        *entry.parts.entry(part).or_default() += more;
        state.change(owner.as_ref(), 0, more);
        Ok(())
    }

    /// Notes that a part is gone.
    pub(super) fn remove_part(&self, session: &UploadSessionId, part: u32) {
        let mut state = self.lock();
        let Some(entry) = state.sessions.get_mut(session) else {
            return;
        };
        let before = entry.parts.remove(&part).unwrap_or_default();
        let owner = entry.owner.clone();
        state.change(owner.as_ref(), before, 0);
    }

    /// Notes that a session is gone with all its parts.
    pub(super) fn remove(&self, session: &UploadSessionId) {
        let mut state = self.lock();
        if let Some(entry) = state.sessions.remove(session) {
            let before = entry.parts.values().sum();
            state.change(entry.owner.as_ref(), before, 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, owner: Option<&Did>, before: u64, after: u64) {
        self.total = self.total.saturating_sub(before).saturating_add(after);
        metrics::gauge!("atcr_appview_spool_bytes").set(as_f64(self.total));
        if let Some(owner) = owner {
            let bytes = self.accounts.entry(owner.clone()).or_default();
            *bytes = bytes.saturating_sub(before).saturating_add(after);
            if *bytes == 0 {
                self.accounts.remove(owner);
            }
        }
    }
}

/// Exact up to 8 PiB.
#[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn did(name: &str) -> Did {
        format!("did:web:{name}.example").parse().unwrap()
    }

    fn usage() -> SpoolUsage {
        SpoolUsage::new(SpoolLimits {
            account_bytes: 100,
            total_bytes: 300,
        })
    }

    #[test]
    fn an_account_has_a_limit_and_what_goes_makes_room() {
        let usage = usage();
        let (one, two) = (UploadSessionId::random(), UploadSessionId::random());
        usage.own(&one, &did("alice"));
        usage.own(&two, &did("alice"));
        usage.grow(&one, 1, 60).unwrap();
        usage.grow(&two, 1, 40).unwrap();
        assert!(matches!(
            usage.grow(&two, 1, 1),
            Err(SpoolError::AccountFull { limit: 100 })
        ));
        usage.remove_part(&one, 1);
        usage.set(&two, 1, 10);
        usage.grow(&two, 2, 90).unwrap();
        usage.remove(&two);
        usage.remove(&two);
        usage.grow(&one, 1, 100).unwrap();
    }

    #[test]
    fn accounts_that_take_all_they_can_leave_room_for_the_next() {
        let usage = usage();
        let mut all = 0;
        for n in 0..20 {
            let session = UploadSessionId::random();
            usage.own(&session, &did(&format!("a{n}")));
            let mut own = 0;
            while usage.grow(&session, 1, 1).is_ok() {
                own += 1;
            }
            all += own;
            assert!(all <= 300, "account {n} has {own} of {all}");
            if n < 5 {
                assert!(own > 0, "account {n} found no room");
            }
        }
        // Together they reach the end all the same.
        let (last, more) = (UploadSessionId::random(), 300 - all + 1);
        usage.own(&last, &did("last"));
        assert!(matches!(usage.grow(&last, 1, more), Err(SpoolError::Full)));
    }

    #[test]
    fn what_an_earlier_run_left_counts_and_finds_its_owner() {
        let (usage, left, new) = (usage(), UploadSessionId::random(), UploadSessionId::random());
        usage.set(&left, 1, 290);
        usage.own(&new, &did("alice"));
        assert!(matches!(usage.grow(&new, 1, 11), Err(SpoolError::Full)));
        usage.own(&left, &did("alice"));
        assert!(matches!(
            usage.grow(&new, 1, 1),
            Err(SpoolError::AccountFull { .. })
        ));
    }
}
