//! Giving a session up.

use atcr_oci::UploadSessionId;

use super::Uploads;
use super::session::UploadSession;

impl Uploads {
    /// Gives the session up, here and at the hold. What fails is left to the sweeper and to the hold's own expiry.
    pub(super) async fn discard(&self, session: &UploadSession) {
        self.forget(&session.id).await;
        self.abort(session).await;
    }

    /// Gives the session up at the hold.
    pub(super) async fn abort(&self, session: &UploadSession) {
        let Some(remote) = &session.remote else { return };
        let (principal, hold) = (session.principal(), &session.hold);
        let aborted = self
            .access
            .as_user(&principal, hold, |token| async move {
                self.gateway.abort_upload(hold, &token, &remote.id).await
            })
            .await;
        if let Err(error) = aborted {
            tracing::debug!(hold.did = %hold.did, %error, "an upload stays at the hold");
        }
    }

    /// Drops what is kept here of a session.
    pub(super) async fn forget(&self, id: &UploadSessionId) {
        if let Err(error) = self.sessions.remove(id).await {
            tracing::warn!(upload.id = ?id, %error, "an upload session stays until it is swept");
        }
        if let Err(error) = self.spool.discard(id).await {
            tracing::warn!(upload.id = ?id, %error, "spooled bytes stay until they are swept");
        }
    }
}
