//! Asking a hold with the right credentials: anonymously where that suffices, else with the user's service token.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use secrecy::SecretString;

use crate::error::{AccessError, RegistryError};
use crate::hold::error::HoldError;
use crate::hold::ports::{HoldRef, HoldTokens};

/// Why a call to a hold failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The hold's part in it.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// No token could be had.
    #[error(transparent)]
    Token(RegistryError),
}

impl CallError {
    /// The registry's words for it; `hold` is the one that was called.
    #[must_use]
    pub fn at(self, hold: &HoldRef) -> RegistryError {
        match self {
            Self::Hold(error) => error.at(hold),
            Self::Token(error) => error,
        }
    }

    /// Whether the same call may succeed a moment later. A hold that let the time for an answer pass is not asked twice within one
    /// request: the client has waited long enough.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Hold(error) if error.is_transient() && !matches!(error, HoldError::TimedOut))
    }
}

/// How long a hold that refused an anonymous reader is asked with a token at once.
const REMEMBER_PRIVATE: Duration = Duration::from_mins(10);

/// Holds remembered at once.
const REMEMBERED_HOLDS: u64 = 10_000;

/// Puts credentials to requests to holds.
#[derive(Clone)]
pub struct HoldAccess {
    tokens: Arc<dyn HoldTokens>,
    private: moka::sync::Cache<Did, ()>,
}

impl HoldAccess {
    /// Takes service tokens from `tokens`.
    #[must_use]
    pub fn new(tokens: Arc<dyn HoldTokens>) -> Self {
        let private = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED_HOLDS)
            .time_to_live(REMEMBER_PRIVATE)
            .build();
        Self { tokens, private }
    }

    /// Reads from `hold`. Most holds are public and their readers need no token, which spares a trip to the user's PDS; a hold
    /// that refuses a caller without a token, with 401 or as original holds may do with 403, is asked again with one.
    ///
    /// # Errors
    /// [`HoldError::Unauthorized`] for an anonymous caller whom the hold does not serve; else what [`HoldAccess::as_user`] says.
    pub async fn read<T, F, Fut>(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        call: F,
    ) -> Result<T, CallError>
    where
        F: Fn(Option<SecretString>) -> Fut,
        Fut: Future<Output = Result<T, HoldError>>,
    {
        if self.private.get(&hold.did).is_none() {
            match call(None).await {
                Err(HoldError::Unauthorized | HoldError::Forbidden { .. }) => {
                    self.private.insert(hold.did.clone(), ());
                }
                outcome => return Ok(outcome?),
            }
        }
        match principal {
            Principal::Anonymous => Err(HoldError::Unauthorized.into()),
            Principal::Sailor { .. } => self.as_user(principal, hold, |token| call(Some(token))).await,
        }
    }

    /// Calls `hold` with a service token of `principal`; one that is refused is thrown away and replaced once.
    ///
    /// # Errors
    /// The hold's, and those of [`HoldTokens`] when the user's PDS gives no token.
    pub async fn as_user<T, F, Fut>(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        call: F,
    ) -> Result<T, CallError>
    where
        F: Fn(SecretString) -> Fut,
        Fut: Future<Output = Result<T, HoldError>>,
    {
        match call(self.token(principal, hold).await?).await {
            Err(HoldError::Unauthorized) => self.tokens.invalidate(principal, &hold.did).await,
            outcome => return Ok(outcome?),
        }
        Ok(call(self.token(principal, hold).await?).await?)
    }

    async fn token(&self, principal: &Principal, hold: &HoldRef) -> Result<SecretString, CallError> {
        let token = self
            .tokens
            .token_for(principal, &hold.did)
            .await
            .map_err(CallError::Token)?;
        token.ok_or_else(|| CallError::Token(RegistryError::Access(AccessError::SignInRequired)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_that_used_up_the_time_is_not_asked_twice_and_one_that_broke_off_is() {
        let unreachable = HoldError::Unreachable {
            reason: "the connection broke".to_owned(),
        };
        assert!(CallError::from(unreachable).is_passing());
        assert!(
            CallError::from(HoldError::Busy {
                retry_after: Duration::ZERO
            })
            .is_passing()
        );
        assert!(!CallError::from(HoldError::TimedOut).is_passing());
        assert!(!CallError::from(HoldError::DigestRefused).is_passing());
    }
}
