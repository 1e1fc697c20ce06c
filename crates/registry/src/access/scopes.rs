//! What a caller may ask a token for.

use std::sync::Arc;

use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::identity::IdentityUnavailable;
use atcr_atproto::syntax::{AtIdentifier, Did};
use atcr_auth::principal::Principal;
use atcr_oci::{AccessScope, RepositoryName};

use crate::error::{AccessError, RegistryError};

/// Reading, which every caller may ask for; the hold decides.
const PULL: &str = "pull";

/// Decides scopes.
#[derive(Clone)]
pub struct Scopes {
    identities: Arc<dyn IdentityResolver>,
}

impl Scopes {
    /// Finds out through `identities` whose a repository is.
    #[must_use]
    pub fn new(identities: Arc<dyn IdentityResolver>) -> Self {
        Self { identities }
    }

    /// The part of `requested` that `principal` gets.
    ///
    /// Every caller may pull. Only the owner of a name may do anything else, under each name of the account. An anonymous caller
    /// gets the permitted part of the request, since clients ask for push where they only pull; a sailor is refused at once.
    /// Scopes of kinds that this registry does not have are left out.
    ///
    /// # Errors
    /// [`AccessError::Denied`] when a sailor asks to write to another account's repository;
    /// [`IdentityUnavailable`] when it cannot be told whose it is.
    ///
    /// # Spec
    /// Docker token authentication, "Requesting a token".
    pub async fn allow(
        &self,
        principal: &Principal,
        requested: Vec<AccessScope>,
    ) -> Result<Vec<AccessScope>, RegistryError> {
        let mut allowed = Vec::new();
        for mut scope in requested {
            if scope.resource_type == "registry" && scope.name == "catalog" {
                allowed.push(scope);
                continue;
            }
            let Some(name) = scope.repository_name() else {
                continue;
            };
            let writes = scope.actions.iter().any(|action| action != PULL);
            match principal {
                Principal::Anonymous => scope.actions.retain(|action| action == PULL),
                Principal::Sailor { did, .. } => {
                    if writes && !self.owns(did, &name).await? {
                        return Err(RegistryError::Access(AccessError::Denied {
                            reason: format!(
                                "{name} is not yours to write to: push to a repository under your own handle"
                            ),
                        }));
                    }
                }
            }
            if !scope.actions.is_empty() {
                allowed.push(scope);
            }
        }
        Ok(allowed)
    }

    async fn owns(&self, did: &Did, name: &RepositoryName) -> Result<bool, RegistryError> {
        let Ok(identifier) = AtIdentifier::from_image_segment(name.identity()) else {
            return Ok(false);
        };
        if let AtIdentifier::Did(named) = &identifier {
            return Ok(named == did);
        }
        match self.identities.resolve(&identifier).await {
            Ok(identity) => Ok(identity.did == *did),
            Err(error) if error.is_transient() => {
                Err(IdentityUnavailable::new(name.to_string(), error).into())
            }
            Err(_) => Ok(false),
        }
    }
}

impl std::fmt::Debug for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scopes").finish_non_exhaustive()
    }
}
