//! OAuth sessions in memory.

use std::sync::Arc;

use atcr_atproto::dpop::DpopProver;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::OAuthSession;

use crate::live_sessions::{LiveSessions, OfAccount};

/// A session and what proves possession of its key.
pub(super) struct Live {
    pub(super) session: OAuthSession,
    /// Which of its account's sessions the database has.
    pub(super) version: i64,
    /// False: the database still has the session at `version`, whose refresh token is spent, and this one takes its place there.
    pub(super) is_written: bool,
    pub(super) prover: DpopProver,
}

impl OfAccount for Live {
    fn did(&self) -> &Did {
        &self.session.did
    }
}

impl LiveSessions<Live> {
    /// The session of `did`, if the database does not have it yet.
    pub(super) fn unwritten(&self, did: &Did) -> Option<Arc<Live>> {
        self.get(did).filter(|live| !live.is_written)
    }
}
