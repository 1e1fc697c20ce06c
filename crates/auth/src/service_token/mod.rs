//! Tokens that an account's PDS signs so that the AppView may act for the account at a hold.

mod cache;
mod claims;
mod error;
mod verify;

pub use cache::ServiceTokenCache;
pub use claims::{ServiceTokenClaims, VerifiedServiceToken};
pub use error::ServiceTokenError;
pub use verify::{claimed_issuer, verify_service_token};

/// The method that every token of the OAuth scopes names, regardless of the method called: the scopes ask for this one `rpc`
/// permission.
pub const UNIVERSAL_METHOD: &str = "com.atproto.repo.getRecord";

#[cfg(test)]
mod tests;
