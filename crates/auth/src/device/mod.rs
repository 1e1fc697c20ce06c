//! Signing a device in from a browser: the device shows a short code, a person who is signed in approves it, the device gets a
//! secret of its own.
//!
//! - [`code`]: the code that the device keeps and the one that people compare.
//! - [`name`]: what a device calls itself, made harmless.
//! - [`flow`]: pending → approved or denied → consumed.
//! - [`polling`]: how often the device may ask, and what it is told.
//! - [`secret`]: what the device signs in with from then on.
//!
//! # Spec
//! RFC 8628, with JSON bodies and without client registration.

pub mod code;
pub mod flow;
pub mod name;
pub mod polling;
pub mod secret;

pub use code::{DeviceCode, UserCode};
pub use flow::{Approval, Decision, PendingDevice};
pub use name::DeviceName;
pub use polling::Turn;
pub use secret::{DeviceSecret, DeviceSecretError};

#[cfg(test)]
mod tests;
