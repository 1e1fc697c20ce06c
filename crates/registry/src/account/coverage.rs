//! How much of an account an answer covers.

use std::time::Duration;

use atcr_atproto::syntax::Did;

use crate::error::{AccountError, RegistryError};

/// What the index says of an account, compared with what the account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coverage {
    /// All of it.
    #[default]
    Whole,
    /// What fits into the limits of one account; the account has more.
    Partial,
    /// What it had when it was listed last, and what was pushed here since. It has changed, and may not be listed again yet.
    Stale {
        /// When it may.
        retry_after: Duration,
    },
}

impl Coverage {
    /// That of an account of which every record is listed, or not.
    #[must_use]
    pub fn of(is_whole: bool) -> Self {
        if is_whole { Self::Whole } else { Self::Partial }
    }

    /// What the reader of the answer has to know; `None` when the answer is complete.
    #[must_use]
    pub fn warning(self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Partial => Some(
                "this list is incomplete: the account has more records than this registry lists".to_owned(),
            ),
            Self::Stale { retry_after } => Some(format!(
                "this list may be out of date: the account changes too often to be listed each time; try again in {} s",
                retry_after.as_secs().max(1)
            )),
        }
    }

    /// Checks that what was not found is not there.
    ///
    /// # Errors
    /// [`AccountError::TooLarge`], [`RegistryError::TooManyRequests`] when it may be there all the same.
    pub fn require_absence(self, did: &Did) -> Result<(), RegistryError> {
        match self {
            Self::Whole => Ok(()),
            Self::Partial => Err(RegistryError::Account(AccountError::TooLarge {
                did: did.clone(),
            })),
            Self::Stale { retry_after } => Err(RegistryError::TooManyRequests { retry_after }),
        }
    }
}
