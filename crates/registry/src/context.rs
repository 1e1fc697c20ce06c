//! What one registry request is about.

use std::sync::Arc;

use atcr_atproto::identity::ResolvedIdentity;
use atcr_oci::RepositoryName;

/// One request's subject: whose repository, and under which name.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The repository as the client spelled it: `<identity>/<image>`.
    pub name: RepositoryName,
    /// The account that `name`'s first segment resolves to.
    pub owner: Arc<ResolvedIdentity>,
    /// Who asks, for shares of what many ask for: an account's DID, or the address of a client without an account.
    pub requester: Arc<str>,
}

impl RequestContext {
    /// The repository within the owner's account: the name without the identity, as records store it.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.name.image()
    }
}
