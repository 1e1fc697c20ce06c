//! Waiting for the user to approve this device.
//!
//! # Spec
//! RFC 8628 §3.4–3.5.

use std::time::Duration;

use thiserror::Error;

use crate::appview::{AppView, AppViewError, DeviceCode, DeviceLogin, Poll};
use crate::clock::Clock;

/// What `slow_down` adds to the interval, for the rest of the flow (RFC 8628 §3.5).
const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);
/// Failed polls in a row after which it is not the network's mood.
const MAX_FAILURES: u32 = 10;

/// A flow that ended without a device.
#[derive(Debug, Error)]
pub enum DeviceFlowError {
    /// The user said no.
    #[error("the sign-in was denied")]
    Denied,
    /// The code expired before a decision.
    #[error("the code has expired")]
    Expired,
    /// The registry failed.
    #[error(transparent)]
    AppView(#[from] AppViewError),
}

/// Polls until the user decides or the code expires. Losing the network meanwhile is survived, as is a restart of the
/// registry; what the registry says in plain words is believed.
///
/// # Errors
/// [`DeviceFlowError`]
pub fn await_approval(
    appview: &AppView,
    code: &DeviceCode,
    clock: &impl Clock,
) -> Result<DeviceLogin, DeviceFlowError> {
    let started = clock.now();
    let mut interval = code.interval;
    let mut wait = interval;
    let mut failures = 0;
    loop {
        let left = code
            .expires_in
            .saturating_sub(clock.now().saturating_duration_since(started));
        if left.is_zero() {
            return Err(DeviceFlowError::Expired);
        }
        clock.sleep(wait.min(left));
        wait = interval;
        match appview.poll_device_token(&code.device_code) {
            Ok(Poll::Pending) => failures = 0,
            Ok(Poll::SlowDown) => {
                failures = 0;
                interval += SLOW_DOWN_STEP;
                wait = interval;
            }
            Ok(Poll::Approved(login)) => return Ok(login),
            Ok(Poll::Denied) => return Err(DeviceFlowError::Denied),
            Ok(Poll::Expired) => return Err(DeviceFlowError::Expired),
            Err(AppViewError::TooManyRequests { retry_after, .. }) => wait = retry_after.max(interval),
            Err(error) if is_passing(&error) && failures < MAX_FAILURES => failures += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the next poll may fare better.
fn is_passing(error: &AppViewError) -> bool {
    match error {
        AppViewError::Unreachable { .. } | AppViewError::TooManyRequests { .. } => true,
        AppViewError::Refused { status, .. } => *status >= 500,
        AppViewError::Garbage { .. } | AppViewError::CannotRevoke(_) => false,
    }
}
