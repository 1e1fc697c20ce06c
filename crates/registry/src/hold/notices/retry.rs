//! When a notice of a push is sent again, and when it is given up.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use crate::error::{AccessError, RegistryError};
use crate::hold::error::HoldError;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// After this a notice is given up.
pub(super) const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(1);

/// What came of sending a notice.
pub(super) enum Sent {
    /// The hold knows.
    Told,
    /// It will not do.
    Refused,
    /// The pusher cannot be asked for a token just now.
    NotYet,
    /// Sending it fails each time, and it is not tried for now.
    SetAside,
    /// The hold fails, and asks to be left alone for so long if it says.
    HoldFails(Option<Duration>),
}

/// How long something is left alone after it failed.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    /// When it may be tried again.
    pub(super) until: Option<Instant>,
}

impl Backoff {
    /// Something failed: it is left alone for `at_least`, and longer each time.
    pub(super) fn fail(&mut self, at_least: Option<Duration>) {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures));
        let pause = pause.max(at_least.unwrap_or_default()).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(Instant::now() + pause);
    }

    /// It worked: the next pause is short again.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }

    /// Whether it may be tried again.
    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

/// What an error means for a notice.
pub(super) fn verdict(error: &RegistryError) -> Sent {
    match error {
        RegistryError::Hold { error, .. } => match error {
            HoldError::Busy { retry_after } => Sent::HoldFails(Some(*retry_after)),
            HoldError::Unresolvable { .. }
            | HoldError::Unreachable { .. }
            | HoldError::TimedOut
            | HoldError::Failed { .. }
            | HoldError::Malformed { .. } => Sent::HoldFails(None),
            // A hold that does not know the method will not learn it within a day.
            HoldError::Refused { .. }
            | HoldError::Forbidden { .. }
            | HoldError::QuotaExceeded { .. }
            | HoldError::UrlRefused
            | HoldError::BlobNotFound
            | HoldError::UploadNotFound
            | HoldError::DigestRefused => Sent::Refused,
            HoldError::Unauthorized | HoldError::BodyBroken => Sent::NotYet,
        },
        RegistryError::Access(
            AccessError::SessionEnded { .. } | AccessError::SignInRequired | AccessError::SignedOut { .. },
        ) => Sent::Refused,
        _ => Sent::NotYet,
    }
}

#[cfg(test)]
mod tests;
