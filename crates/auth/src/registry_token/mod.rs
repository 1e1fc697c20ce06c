//! The token that Docker clients carry: issued by the AppView for 5 minutes, verified by the AppView.

mod claims;
mod error;
mod issuer;
mod key;
mod verifier;

pub use claims::{AccessEntry, RegistryClaims};
pub use error::RegistryTokenError;
pub use issuer::{IssuedRegistryToken, RegistryTokenIssuer};
pub use key::RegistryKey;
pub use verifier::RegistryTokenVerifier;

use chrono::TimeDelta;

/// Life of a token: 5 minutes, fixed.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(5);

#[cfg(test)]
mod tests;
