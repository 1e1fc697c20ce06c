//! Tokens and secrets of ATCR, which identify a caller and prove it. No web framework, no ambient time: `now` is a
//! parameter.
//!
//! | Module | Token | From → to |
//! |---|---|---|
//! | [`registry_token`] | 5-minute ES256 JWT with an `access` claim | AppView → Docker client → AppView |
//! | [`service_token`] | JWT signed by an account's own key | account's PDS → AppView → hold |
//! | [`appview_token`] | ES256 JWT signed by an AppView, optionally vouching for a blob's content | AppView → hold |
//! | [`oauth`] | OAuth tokens bound to a DPoP key | account's authorization server → AppView → account's PDS |
//! | [`device`] | a device's secret, and the codes that lead to it | AppView → credential helper → AppView |
//! | [`vault`] | (none) sealing of secrets that are stored | |
//! | [`principal`] | (none) whom a verified token speaks for | |
//!
//! The kinds cannot stand in for each other: each verifier fixes algorithm, issuer, audience and the claims that only
//! its kind has, and keys come from configuration or from the issuer's DID document, never from the token's header.
//!
//! Every way to sign in ends in the same [`Principal`] with its [`AuthMethod`], has its stored secrets sealed by a
//! [`vault`], and hands an account's access to the [`ServiceTokenCache`] as its `mint`.

pub mod appview_token;
pub mod bounds;
pub mod device;
mod jws;
pub mod oauth;
pub mod principal;
pub mod registry_token;
mod secret_file;
pub mod service_token;
pub mod vault;

pub use appview_token::{
    AppViewClaims, AppViewTokenError, AppViewTokenSigner, ContentProof, verify_appview_token,
};
pub use principal::{AuthMethod, Principal};
pub use registry_token::{
    AccessEntry, IssuedRegistryToken, RegistryClaims, RegistryKey, RegistryTokenError, RegistryTokenIssuer,
    RegistryTokenVerifier,
};
pub use secret_file::SecretFileError;
pub use service_token::{
    ServiceTokenCache, ServiceTokenClaims, ServiceTokenError, VerifiedServiceToken, claimed_issuer,
    verify_service_token,
};
pub use vault::{Vault, VaultError};

#[cfg(test)]
mod fixtures;
