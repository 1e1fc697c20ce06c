//! Why a request of a container client was not answered as asked, whichever part refused it.

use atcr_registry::error::RegistryError;
use atcr_server::rate_limit::Limited;
use atcr_sessions::SessionError;

/// A refusal of the registry, or of the sign-in before it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EdgeError {
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

impl From<atcr_oci::RequestError> for EdgeError {
    fn from(error: atcr_oci::RequestError) -> Self {
        Self::Registry(error.into())
    }
}
