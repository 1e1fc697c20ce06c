//! Sends parts of known length, again if need be.

use std::sync::Arc;
use std::time::Duration;

use atcr_auth::principal::Principal;
use atcr_oci::UploadSessionId;
use bytes::Bytes;

use crate::blob::ports::{BlobGateway, PartBody, PartTarget, UploadedPart};
use crate::error::{RegistryError, UploadError};
use crate::hold::credentials::{CallError, HoldAccess};
use crate::hold::error::HoldError;
use crate::hold::ports::HoldRef;
use crate::upload::ports::Spool;

/// How often one part is tried before the request fails.
const ATTEMPTS: u32 = 3;

/// Pause before the second attempt; it grows fourfold with each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Everything that sending a part of one upload takes.
pub(super) struct PartSender {
    pub(super) gateway: Arc<dyn BlobGateway>,
    pub(super) access: HoldAccess,
    pub(super) spool: Arc<dyn Spool>,
    pub(super) principal: Principal,
    pub(super) session: UploadSessionId,
    pub(super) hold: HoldRef,
    pub(super) upload_id: String,
}

impl PartSender {
    /// Where part `number` goes.
    pub(super) async fn target(&self, number: u32) -> Result<PartTarget, CallError> {
        self.access
            .as_user(&self.principal, &self.hold, |token| async move {
                self.gateway
                    .part_target(&self.hold, &token, &self.upload_id, number)
                    .await
            })
            .await
    }

    /// Sends the first `len` bytes of the spooled part `number`. `target` is used for the first attempt, later ones ask for a
    /// fresh URL: the old one may have run out.
    pub(super) async fn send_spooled(
        &self,
        number: u32,
        len: u64,
        mut target: Option<PartTarget>,
    ) -> Result<UploadedPart, RegistryError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let body = self.spooled(number, len).await?;
            match self.attempt(number, target.take(), body).await {
                Ok(etag) => {
                    return Ok(UploadedPart {
                        number,
                        etag,
                        size: len,
                    });
                }
                Err(error) if attempt < ATTEMPTS && worth_another_try(&error) => {
                    tracing::warn!(hold.did = %self.hold.did, part = number, attempt, %error, "a part is sent again");
                    tokio::time::sleep(pause).await;
                    pause *= 4;
                    attempt += 1;
                }
                Err(error) => return Err(self.explain(error)),
            }
        }
    }

    /// The registry's words for a failed call about this upload.
    pub(super) fn explain(&self, error: CallError) -> RegistryError {
        match error {
            CallError::Hold(HoldError::UploadNotFound) => RegistryError::Upload(UploadError::Unknown {
                session: self.session.clone(),
            }),
            other => other.at(&self.hold),
        }
    }

    async fn attempt(
        &self,
        number: u32,
        target: Option<PartTarget>,
        body: PartBody,
    ) -> Result<String, CallError> {
        let target = match target {
            Some(target) => target,
            None => self.target(number).await?,
        };
        Ok(self.gateway.send_part(&target, body).await?)
    }

    async fn spooled(&self, number: u32, len: u64) -> Result<PartBody, RegistryError> {
        if len == 0 {
            return Ok(PartBody::from_bytes(Bytes::new()));
        }
        Ok(self.spool.read(&self.session, number, len).await?)
    }
}

/// A URL may have run out on the way; the next attempt gets a fresh one.
fn worth_another_try(error: &CallError) -> bool {
    matches!(error, CallError::Hold(HoldError::UrlRefused)) || error.is_passing()
}
