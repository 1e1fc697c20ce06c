//! One notice to one hold, in the name of the account that pushed or pulled.

use std::sync::Arc;

use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;

use crate::error::RegistryError;
use crate::hold::credentials::HoldAccess;
use crate::hold::discovery::HoldResolver;
use crate::hold::ports::{HoldGateway, HoldTokens};

/// Sends notices.
#[derive(Clone)]
pub struct NoticeSender {
    gateway: Arc<dyn HoldGateway>,
    access: HoldAccess,
    resolver: HoldResolver,
}

impl NoticeSender {
    /// Sends through `gateway` with `tokens` to where `resolver` finds holds.
    #[must_use]
    pub fn new(gateway: Arc<dyn HoldGateway>, tokens: Arc<dyn HoldTokens>, resolver: HoldResolver) -> Self {
        Self {
            gateway,
            access: HoldAccess::new(tokens),
            resolver,
        }
    }

    /// Tells the hold `did`. The token is asked for now, and once more when the hold does not take it. Nobody can be told in the
    /// name of the anonymous caller, for whom nothing is done.
    ///
    /// # Errors
    /// The hold's; the PDS's, and `AccessError::SessionEnded`, when there is no token to be had.
    pub async fn send(
        &self,
        principal: &Principal,
        did: &Did,
        notice: &NotifyManifestInput,
    ) -> Result<(), RegistryError> {
        if principal.did().is_none() {
            return Ok(());
        }
        let hold = self.resolver.resolve(did).await?;
        self.access
            .as_user(principal, &hold, |token| {
                let hold = &hold;
                async move { self.gateway.notify_manifest(hold, &token, notice).await }
            })
            .await
            .map_err(|error| error.at(&hold))
    }
}
