//! Going on with a session: whose it is, that no other request is at it, and that its spooled bytes survived a restart.

use atcr_auth::principal::Principal;
use atcr_oci::UploadSessionId;

use super::Uploads;
use super::chunks::ChunkReader;
use super::claims::SessionGuard;
use super::session::UploadSession;
use crate::access::{Granted, Push};
use crate::error::{RegistryError, UploadError};

impl Uploads {
    /// The session, if it is the caller's and alive. Another account's is as unknown as one that never was.
    pub(super) async fn require(
        &self,
        grant: &Granted<Push>,
        id: &UploadSessionId,
    ) -> Result<UploadSession, RegistryError> {
        let found = self.sessions.get(id).await?;
        let mine = |session: &UploadSession| {
            matches!(grant.principal(), Principal::Sailor { did, .. } if *did == session.did)
                && session.repository == grant.context().name
                && self.clock.now() < session.expires_at
        };
        found
            .filter(mine)
            .ok_or_else(|| RegistryError::Upload(UploadError::Unknown { session: id.clone() }))
    }

    /// The session for a caller who goes on with it: claimed, and its spool checked after a restart.
    pub(super) async fn resume(
        &self,
        grant: &Granted<Push>,
        id: &UploadSessionId,
    ) -> Result<(UploadSession, SessionGuard), RegistryError> {
        let guard = self.claim(id)?;
        let session = self.require(grant, id).await?;
        if session.written_by != self.run && !self.tail_is_intact(&session).await {
            tracing::warn!(upload.id = ?id, "the spooled bytes of an upload did not survive the restart");
            self.discard(&session).await;
            return Err(RegistryError::Upload(UploadError::Unknown {
                session: id.clone(),
            }));
        }
        Ok((session, guard))
    }

    async fn tail_is_intact(&self, session: &UploadSession) -> bool {
        let len = session.tail_len();
        if len == 0 {
            return true;
        }
        let Ok(body) = self.spool.read(&session.id, session.next_part(), len).await else {
            return false;
        };
        let mut hash = session.tail_hash.clone();
        let mut reader = ChunkReader::new(body.bytes, self.body_idle);
        loop {
            match reader.next().await {
                Ok(Some(piece)) => hash.update(&piece),
                Ok(None) => return session.tail_is_intact(&hash),
                Err(_) => return false,
            }
        }
    }

    /// Keeps other requests from the session while the guard lives.
    pub(super) fn claim(&self, id: &UploadSessionId) -> Result<SessionGuard, RegistryError> {
        self.guards
            .claim(id)
            .ok_or(RegistryError::Upload(UploadError::Busy))
    }
}
