//! Every way a use case of the registry can fail: an error of one of its areas, or of what they share. The edge alone knows statuses.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::identity::IdentityUnavailable;
use atcr_atproto::pds::PdsFailure;
use atcr_atproto::syntax::Did;

use crate::hold::error::HoldError;

pub use atcr_atproto::pds::Source;

pub use crate::access::error::AccessError;
pub use crate::account::error::AccountError;
pub use crate::blob::error::BlobError;
pub use crate::manifest::error::ManifestError;
pub use crate::upload::error::UploadError;

/// Why a registry request failed. Cheap to clone, since callers that waited for the same answer share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    // --- One of the areas -------------------------------------------------------------------------------------
    /// Who asks may not, or not like this.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The repository's account lacks it or is not believed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A manifest's.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A blob's.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An upload's.
    #[error(transparent)]
    Upload(#[from] UploadError),

    // --- Other servers ----------------------------------------------------------------------------------------
    /// The owner chose to have no hold, so there is nowhere to push to.
    #[error("no hold is chosen for this account: set one in the settings, then push again")]
    NoHold,
    /// The hold or its store did not do it.
    #[error("hold {hold} {error}")]
    Hold {
        /// The hold.
        hold: Did,
        /// Why.
        #[source]
        error: HoldError,
    },
    /// The account's PDS did not do it.
    #[error(transparent)]
    Pds(#[from] PdsFailure),
    /// The identity could not be resolved just now.
    #[error(transparent)]
    Identity(#[from] IdentityUnavailable),

    // --- The request and this server --------------------------------------------------------------------------
    /// The body ended or broke before it was complete.
    #[error("the request body broke off: {source}")]
    BodyInterrupted {
        /// What the connection said.
        #[source]
        source: Source,
    },
    /// This registry does not do that.
    #[error("{reason}")]
    Unsupported {
        /// What is not done, and why.
        reason: String,
    },
    /// This server's own limit was reached.
    #[error("too many requests; try again in {} s", retry_after.as_secs())]
    TooManyRequests {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Bytes that came back are not what was stored.
    #[error("stored content is damaged: {what}")]
    Corrupt {
        /// Which content, and how it is known to be damaged.
        what: String,
    },
    /// The local database failed.
    #[error("the local database failed")]
    Database(#[source] Source),
    /// The local disk failed.
    #[error("the local disk failed")]
    Disk(#[source] Arc<std::io::Error>),
    /// An invariant of this program does not hold.
    #[error("internal error: {what}")]
    Internal {
        /// Which.
        what: String,
    },
}

impl RegistryError {
    /// An invariant of this program does not hold: `what`.
    #[must_use]
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }

    /// The hold's error, if it is one.
    #[must_use]
    pub fn as_hold(&self) -> Option<&HoldError> {
        match self {
            Self::Hold { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether this server is at fault: its database, its disk, or an invariant of the program.
    #[must_use]
    pub fn is_own_fault(&self) -> bool {
        matches!(self, Self::Database(_) | Self::Disk(_) | Self::Internal { .. })
    }

    /// Whether another server said nothing, or only that it cannot answer now: what it would have said is not known.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Pds(
                PdsFailure::Unreachable { .. }
                    | PdsFailure::Timeout { .. }
                    | PdsFailure::RateLimited { .. }
                    | PdsFailure::Unavailable { .. }
            )
        )
    }

    /// Whether something came that is not what was asked for: other bytes, or an answer that cannot be read.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. } | Self::Pds(PdsFailure::Malformed { .. })
        )
    }
}

impl From<std::io::Error> for RegistryError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(Arc::new(error))
    }
}
