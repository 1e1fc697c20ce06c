//! Identifies the account of an OAuth access token that a caller presents.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;

use crate::blobs::Source;

/// Why a token does not show whose it is. No variant carries the token or the proof.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The proof is not made for the one call that the hold can make with it.
    #[error("the DPoP proof must be made for GET https://<PDS>/xrpc/com.atproto.server.getSession")]
    WrongProof,
    /// The PDS wants its nonce in the proof.
    #[error("the PDS asks for a DPoP proof with its nonce")]
    NonceNeeded {
        /// The nonce.
        nonce: String,
    },
    /// The PDS does not take the token, or is not the PDS of the account that it names.
    #[error("the token is not accepted by the PDS of its account; a service token works as well")]
    Refused,
    /// The PDS or the account's DID document could not be had.
    #[error("the PDS of the account could not be asked")]
    Unavailable(#[source] Source),
    /// Too many tokens are being checked.
    #[error("too many tokens are being checked")]
    Busy,
}

/// Port: asks an account's PDS about an access token.
#[async_trait]
pub trait AccountSessions: std::fmt::Debug + Send + Sync {
    /// The account that `token` belongs to. `proof` is the caller's DPoP proof for `com.atproto.server.getSession` at the
    /// account's PDS, to which both are presented.
    ///
    /// # Errors
    /// See [`SessionError`].
    ///
    /// # Security
    /// The DID comes from the PDS that the account's own DID document names, or there is none.
    async fn account_of(&self, token: &str, proof: &str) -> Result<Did, SessionError>;
}
