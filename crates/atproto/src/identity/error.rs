//! Why an identity could not be resolved.

use std::error::Error;
use std::sync::Arc;

use crate::egress::EgressError;
use crate::syntax::{Did, Handle};

/// Why an identity could not be resolved. Cheap to clone, since callers that waited for the same look-up share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IdentityError {
    /// Every method could be asked, and none knows the handle.
    #[error("the handle {handle} does not exist")]
    HandleNotFound {
        /// The handle.
        handle: Handle,
    },
    /// The handle leads to a DID whose document names another handle, or none.
    #[error("the handle {handle} points to {did}, which does not claim it")]
    HandleNotConfirmed {
        /// The handle.
        handle: Handle,
        /// The DID it points to.
        did: Did,
    },
    /// The DID's method says that there is no such DID, or that it was deactivated.
    #[error("{did} does not exist")]
    DidNotFound {
        /// The DID.
        did: Did,
    },
    /// Neither did:plc nor did:web of a plain host.
    #[error("{did} is of a kind that is not supported")]
    UnsupportedDid {
        /// The DID.
        did: Did,
    },
    /// The answer is not a document of this DID.
    #[error("the document of {did} is not valid: {reason}")]
    InvalidDocument {
        /// The DID.
        did: Did,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The identity names a host that must not be contacted.
    #[error("{subject} cannot be resolved: {source}")]
    Refused {
        /// The handle or DID.
        subject: String,
        /// The guard's words.
        source: EgressError,
    },
    /// A host gave no usable answer, so it is unknown whether the identity exists. Retry later.
    #[error("{subject} cannot be resolved at the moment: {host} gives no usable answer")]
    Unreachable {
        /// The handle or DID.
        subject: String,
        /// Who was asked: a host name, or `DNS`.
        host: String,
        /// What happened.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl IdentityError {
    /// Whether the failure says nothing about the identity, so that a retry may succeed. Such failures are not cached.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the identity is known not to exist, or not under this name.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::HandleNotFound { .. } | Self::HandleNotConfirmed { .. } | Self::DidNotFound { .. }
        )
    }
}

/// An identity that someone needs could not be resolved just now. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the identity of {name} cannot be resolved now: {source}")]
pub struct IdentityUnavailable {
    name: String,
    source: Arc<IdentityError>,
}

impl IdentityUnavailable {
    /// What `name` stands for is not known, because of `error`; `name` as the caller spelled it.
    #[must_use]
    pub fn new(name: impl Into<String>, error: IdentityError) -> Self {
        Self {
            name: name.into(),
            source: Arc::new(error),
        }
    }
}

/// An answer with a status that says neither yes nor no.
#[derive(Debug, thiserror::Error)]
#[error("status {0}")]
pub(super) struct UnexpectedStatus(pub(super) http::StatusCode);

/// Sorts the failure of a request made while resolving `subject`.
pub(super) fn from_egress(subject: &str, host: &str, error: EgressError) -> IdentityError {
    if error.is_refusal() {
        IdentityError::Refused {
            subject: subject.to_owned(),
            source: error,
        }
    } else {
        IdentityError::Unreachable {
            subject: subject.to_owned(),
            host: host.to_owned(),
            source: Arc::new(error),
        }
    }
}

pub(super) fn unexpected_status(subject: &str, host: &str, status: http::StatusCode) -> IdentityError {
    IdentityError::Unreachable {
        subject: subject.to_owned(),
        host: host.to_owned(),
        source: Arc::new(UnexpectedStatus(status)),
    }
}
