//! From a request under `/v2/` to the use case that answers it.

pub mod blobs;
pub mod uploads;

use atcr_auth::principal::Principal;
use atcr_auth::registry_token::RegistryClaims;
use atcr_oci::RegistryRequest;
use axum::body::Body;
use http::HeaderMap;

use crate::registry::access::{Action, Granted};
use crate::registry::context::RequestContext;
use crate::registry::error::RegistryError;

/// A registry request that is parsed and authenticated and whose repository's owner is resolved.
#[derive(Debug)]
pub struct RegistryCall {
    /// What is asked for.
    pub request: RegistryRequest,
    /// Who asks.
    pub principal: Principal,
    /// The registry token's claims; `None` when the caller signed in on the request itself.
    pub claims: Option<RegistryClaims>,
    /// The repository.
    pub context: RequestContext,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body, unread.
    pub body: Body,
}

impl RegistryCall {
    /// Checks that the caller may do `A` here.
    ///
    /// # Errors
    /// See [`Granted::check`].
    pub fn grant<A: Action>(&self) -> Result<Granted<A>, RegistryError> {
        Granted::check(&self.principal, self.claims.as_ref(), &self.context)
    }
}
