//! Why a request of a container client was not answered as asked, whichever part refused it.

use atcr_oci::RequestError;
use atcr_registry::error::RegistryError;
use atcr_server::rate_limit::Limited;
use atcr_sessions::SessionError;

/// A refusal: of the request as such, of the sign-in before it, or of the registry.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EdgeError {
    /// The URL, query or a header is not of the registry's grammar.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A header has a value that cannot be used.
    #[error("the {header} header is not usable: {reason}")]
    HeaderInvalid {
        /// The header's name.
        header: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter of a token request has a value that cannot be used.
    #[error("the parameter {parameter} is not usable: {reason}")]
    ParameterInvalid {
        /// The parameter's name.
        parameter: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The credentials are not of a form that is taken here, or the token is not (or no longer) good.
    #[error("{reason}")]
    InvalidToken {
        /// The sentence for people.
        reason: String,
    },
    /// A client without an account asks to write. Docker shows this sentence alone.
    #[error(
        "you are not signed in to {registry}: run `docker-credential-atcr login {registry}`, or `docker login {registry}` with \
         your handle and an app password, then try again"
    )]
    NotSignedIn {
        /// This registry's host.
        registry: String,
    },
    /// The registry's.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The sign-in's.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The client asks too often.
    #[error(transparent)]
    Limited(#[from] Limited),
}

impl EdgeError {
    /// The header `header` is not usable.
    #[must_use]
    pub fn header(header: &'static str, reason: impl Into<String>) -> Self {
        Self::HeaderInvalid {
            header,
            reason: reason.into(),
        }
    }

    /// The parameter `parameter` is not usable.
    #[must_use]
    pub fn parameter(parameter: &'static str, reason: impl Into<String>) -> Self {
        Self::ParameterInvalid {
            parameter,
            reason: reason.into(),
        }
    }

    /// The token is not (or no longer) good.
    #[must_use]
    pub fn invalid_token(reason: impl Into<String>) -> Self {
        Self::InvalidToken {
            reason: reason.into(),
        }
    }
}
