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
    registry: String,
}

/// Whose a repository is, for an account that wants to write to it.
enum Whose {
    Own,
    /// Another's.
    Others,
    /// There is no account of the name.
    Nobodys,
    /// What the name begins with is neither a handle nor a DID.
    NoAccount,
}

impl Scopes {
    /// Finds out through `identities` whose a repository is. `registry` is the host of images' names, for sentences.
    #[must_use]
    pub fn new(identities: Arc<dyn IdentityResolver>, registry: String) -> Self {
        Self { identities, registry }
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
                    if writes {
                        let whose = self.whose(did, &name).await?;
                        if !matches!(whose, Whose::Own) {
                            let reason = self.refusal(did, &name, &whose).await;
                            return Err(RegistryError::Access(AccessError::Denied { reason }));
                        }
                    }
                }
            }
            if !scope.actions.is_empty() {
                allowed.push(scope);
            }
        }
        Ok(allowed)
    }

    async fn whose(&self, did: &Did, name: &RepositoryName) -> Result<Whose, RegistryError> {
        let of = |owner: &Did| if owner == did { Whose::Own } else { Whose::Others };
        let Ok(identifier) = AtIdentifier::from_image_segment(name.identity()) else {
            return Ok(Whose::NoAccount);
        };
        if let AtIdentifier::Did(named) = &identifier {
            return Ok(of(named));
        }
        match self.identities.resolve(&identifier).await {
            Ok(identity) => Ok(of(&identity.did)),
            Err(error) if error.is_transient() => {
                Err(IdentityUnavailable::new(name.to_string(), error).into())
            }
            Err(_) => Ok(Whose::Nobodys),
        }
    }

    /// Why `did` may not write to `name`, and the name under which it may. Docker shows this sentence alone.
    async fn refusal(&self, did: &Did, name: &RepositoryName, whose: &Whose) -> String {
        let first = name.identity();
        let why = match whose {
            Whose::NoAccount => {
                format!(": {first} is no account, a handle has a dot as in alice.example.com")
            }
            Whose::Nobodys => format!(": there is no account {first}"),
            Whose::Own | Whose::Others => String::new(),
        };
        let known = self.identities.resolve(&AtIdentifier::Did(did.clone())).await;
        let handle = known.ok().and_then(|identity| identity.handle.clone());
        let own = handle.map(|handle| handle.to_string());
        let shown = own.clone().unwrap_or_else(|| did.to_string());
        match own.or_else(|| did.to_image_segment()) {
            Some(own) => format!(
                "{name} is not yours to write to{why}. You are signed in as {shown}: name the image {}/{own}/{}",
                self.registry,
                name.image()
            ),
            None => format!("{name} is not yours to write to{why}. You are signed in as {shown}"),
        }
    }
}

impl std::fmt::Debug for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scopes").finish_non_exhaustive()
    }
}
