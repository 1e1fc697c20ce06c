//! Resolution of a handle or a DID to its document, keys, PDS and confirmed handle.
//!
//! | Module | Does |
//! |---|---|
//! | [`document`] | the DID document: services, keys, claimed handle |
//! | [`resolver`] | the resolver: methods below, bidirectional check, caches |
//! | [`dns`] | the port for DNS TXT records, and its hickory adapter |
//! | [`cache`] | values that expire, resolved by one caller at a time |
//! | `did_plc`, `did_web`, `handle_dns`, `handle_well_known`, `handle_xrpc` | one resolution method each |
//! | [`error`] | "does not exist" kept apart from "could not find out" |

pub mod cache;
mod did_plc;
mod did_web;
pub mod dns;
pub mod document;
pub mod error;
mod handle_dns;
mod handle_well_known;
mod handle_xrpc;
pub mod resolver;

pub use document::DidDocument;
pub use error::{IdentityError, IdentityUnavailable};
pub use resolver::{Resolver, ResolverConfig};

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::crypto::PublicKey;
use crate::syntax::{AtIdentifier, Did, Handle};

/// An account or service as its DID document and its handle describe it.
#[derive(Clone, Debug)]
pub struct ResolvedIdentity {
    /// The DID.
    pub did: Did,
    /// The handle, present only if the document claims it *and* the handle resolves back to the DID.
    pub handle: Option<Handle>,
    /// Base URL of the account's PDS (service `#atproto_pds`).
    pub pds: Option<Url>,
    /// The key that signs the account's commits and service tokens (`#atproto`).
    pub signing_key: Option<PublicKey>,
    /// The document all this was read from.
    pub document: Arc<DidDocument>,
}

impl ResolvedIdentity {
    /// The identity that `document` describes. `handle` must have been confirmed in both directions by the caller.
    #[must_use]
    pub fn new(document: Arc<DidDocument>, handle: Option<Handle>) -> Self {
        Self {
            did: document.id().clone(),
            handle,
            pds: document.service("atproto_pds"),
            signing_key: document.signing_key(),
            document,
        }
    }
}

/// Base URL of a hold: service `#atcr_hold`, else `#atproto_pds` (a hold is its own PDS).
#[must_use]
pub fn hold_endpoint(identity: &ResolvedIdentity) -> Option<Url> {
    identity
        .document
        .service("atcr_hold")
        .or_else(|| identity.pds.clone())
}

/// Port: who is behind a handle or DID. Answers may come from a cache.
#[async_trait]
pub trait IdentityResolver: Send + Sync {
    /// Resolves a handle or DID. A handle is returned only if the document it leads to claims it.
    ///
    /// # Errors
    /// See [`IdentityError`]; [`IdentityError::is_transient`] tells "retry later" from a definite "does not exist".
    async fn resolve(&self, identifier: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, IdentityError>;

    /// Resolves a DID with its handle. A handle that cannot be confirmed is left out; that is no error.
    async fn resolve_did(&self, did: &Did) -> Result<Arc<ResolvedIdentity>, IdentityError>;

    /// The DID document alone, without resolving the handle: enough to check a signature or find a service.
    async fn resolve_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        Ok(Arc::clone(&self.resolve_did(did).await?.document))
    }

    /// The DID document as its source has it now, for a signature that the cached key does not verify. A resolver may
    /// answer from its cache when the same DID is refreshed too often.
    async fn refresh_document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        self.invalidate_did(did).await;
        self.resolve_document(did).await
    }

    /// Removes `did` from the cache.
    async fn invalidate_did(&self, did: &Did);

    /// Removes `handle` from the cache.
    async fn invalidate_handle(&self, handle: &Handle);
}

#[cfg(test)]
mod tests;
