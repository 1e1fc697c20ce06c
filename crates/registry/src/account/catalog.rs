//! Listing repositories: those of the caller.

use std::sync::Arc;

use atcr_atproto::identity::IdentityUnavailable;
use atcr_atproto::identity::{IdentityResolver, ResolvedIdentity};
use atcr_oci::{CatalogBody, Page};

use crate::access::GrantedCatalog;
use crate::account::Accounts;
use crate::account::coverage::Coverage;
use crate::error::RegistryError;
use crate::manifest::tags::{Listed, cut};

/// Repositories in a page, when the client names no number or a larger one.
pub const REPOSITORIES_AT_ONCE: usize = 1_000;

/// The catalog.
pub struct Catalog {
    accounts: Arc<Accounts>,
    identities: Arc<dyn IdentityResolver>,
}

impl Catalog {
    /// Lists from `accounts`; callers' names come from `identities`.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, identities: Arc<dyn IdentityResolver>) -> Self {
        Self { accounts, identities }
    }

    /// A page of the caller's repositories, in byte order, under the account's handle, or its DID where no handle is confirmed.
    /// Empty for the anonymous caller: the namespace is the whole network.
    ///
    /// # Errors
    /// The caller's identity or PDS not answering.
    pub async fn list(
        &self,
        grant: &GrantedCatalog,
        page: &Page,
    ) -> Result<Listed<CatalogBody>, RegistryError> {
        let empty = Listed {
            body: CatalogBody {
                repositories: Vec::new(),
            },
            next: None,
            coverage: Coverage::Whole,
        };
        let Some(did) = grant.principal().did() else {
            return Ok(empty);
        };
        let owner = self
            .identities
            .resolve_did(did)
            .await
            .map_err(|error| IdentityUnavailable::new(did.as_str(), error))?;
        let Some(identity) = segment(&owner) else {
            return Ok(empty);
        };
        let coverage = self.accounts.ensure_synced(&owner, did.as_str()).await?;
        let limit = page.limit(REPOSITORIES_AT_ONCE, REPOSITORIES_AT_ONCE);
        let prefix = format!("{identity}/");
        // All names begin alike, so that `last` before them means all, and behind them none.
        let after = match page.last.as_deref() {
            None => None,
            Some(last) => match last.strip_prefix(&prefix) {
                Some(repository) => Some(repository),
                None if last < prefix.as_str() => None,
                None => return Ok(empty),
            },
        };
        let repositories = self.accounts.index().repositories(did, after, limit + 1).await?;
        let mut names: Vec<String> = repositories
            .into_iter()
            .map(|repository| format!("{prefix}{repository}"))
            .collect();
        let next = cut(&mut names, limit);
        Ok(Listed {
            body: CatalogBody { repositories: names },
            next,
            coverage,
        })
    }
}

/// How the account is spelled in an image name.
fn segment(owner: &ResolvedIdentity) -> Option<String> {
    owner
        .handle
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| owner.did.to_image_segment())
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}
