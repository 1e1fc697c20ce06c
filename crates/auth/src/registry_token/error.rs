//! Why a registry token is not accepted or cannot be made.

use crate::secret_file::SecretFileError;

/// Why a registry token is not accepted, or its key not usable. No variant carries the token.
#[derive(Debug, thiserror::Error)]
pub enum RegistryTokenError {
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// The key cannot be used for ES256.
    #[error("the registry key cannot be used")]
    Key(#[source] jsonwebtoken::errors::Error),
    /// Signing failed.
    #[error("the registry token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// Not a token of this registry: form, algorithm, signature, issuer, audience or claims are wrong.
    #[error("not a token of this registry")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    /// A token of this registry whose claims contradict each other.
    #[error("the registry token contradicts itself")]
    Inconsistent,
    /// The token's life is over: ask for another.
    #[error("the registry token has expired")]
    Expired,
    /// The token is from the future.
    #[error("the registry token is not valid yet")]
    NotYetValid,
}
