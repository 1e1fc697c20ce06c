//! What becomes of a session that was refreshed just now: it is written, used from memory until it can be, or given back because the
//! account signed in again or out meanwhile.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_auth::oauth::OAuthSession;
use atcr_server::supervise::Task;
use secrecy::ExposeSecret as _;

use super::failures::session_ended;
use super::live::Live;
use super::renewal::Inner;
use crate::error::SessionError;

/// In logs and metrics.
const REWRITE: Task = Task::new("write_oauth_session");

/// How often a write is tried again that failed.
const WRITE_EVERY: Duration = Duration::from_millis(500);

impl Inner {
    pub(super) async fn keep_refreshed(
        self: &Arc<Self>,
        session: OAuthSession,
        version: i64,
    ) -> Result<Arc<Live>, SessionError> {
        match self.store.replace(&session, version).await {
            Ok(Some(version)) => Ok(self.remember(session, version)),
            Ok(None) => self.overtaken(&session).await,
            Err(error) => {
                let did = session.did.clone();
                tracing::error!(%did, %error, "a renewed session could not be written; it is used from memory");
                let unwritten = Live {
                    is_written: false,
                    ..self.live(session, version)
                };
                let live = self.live.remember(unwritten);
                let inner = Arc::clone(self);
                REWRITE.spawn(
                    &self.shutdown,
                    async move { inner.write_within_lease(&did).await },
                );
                Ok(live)
            }
        }
    }

    /// Tries again to write the session of `did` until it is written or over, or the lease ends: another process may try then.
    async fn write_within_lease(&self, did: &Did) {
        let writing = async {
            loop {
                tokio::time::sleep(WRITE_EVERY).await;
                let _change = self.changes.lock(did).await;
                match self.write(did).await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::warn!(%did, %error, "a renewed session could still not be written");
                    }
                }
            }
        };
        if tokio::time::timeout(self.lease, writing).await.is_err() {
            tracing::error!(%did, "a renewed session was not written; it ends with this process");
        }
    }

    /// Writes the session of `did`, if it is in memory only.
    pub(super) async fn write(&self, did: &Did) -> Result<(), SessionError> {
        let Some(live) = self.live.unwritten(did) else {
            return Ok(());
        };
        match self.store.replace(&live.session, live.version).await? {
            Some(version) => {
                self.remember(live.session.clone(), version);
            }
            None => {
                // Over or replaced, whichever: what is there counts.
                self.live.forget(did);
                let _ = self.overtaken(&live.session).await;
            }
        }
        Ok(())
    }

    /// What counts instead of `session`, whose place is gone: the account signed in again or out meanwhile. Or neither, and it was
    /// written before, without our learning of it.
    async fn overtaken(&self, session: &OAuthSession) -> Result<Arc<Live>, SessionError> {
        let found = self.find_stored(&session.did).await?;
        let is_itself = found.as_ref().is_some_and(|live| {
            live.session.access_token.expose_secret() == session.access_token.expose_secret()
        });
        if !is_itself {
            self.client.revoke(session).await;
        }
        found.ok_or_else(|| session_ended(&self.sign_in_url, None))
    }
}
