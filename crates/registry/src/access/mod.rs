//! Permission as a value: a use case takes a [`Granted`], and only [`Permissions`] makes one.

pub mod error;
pub mod scopes;

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_auth::registry_token::RegistryClaims;

use crate::context::RequestContext;
use crate::error::{AccessError, RegistryError};

/// Who sends a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account, or the anonymous caller.
    pub principal: Principal,
    /// The registry token's claims; `None` when the caller signed in on the request itself.
    pub claims: Option<RegistryClaims>,
}

impl Caller {
    /// The account and the device that the token was given to. A device that signed in on the request itself was looked up for it.
    fn device_of_token(&self) -> Option<(&Did, &str)> {
        let device = self.claims.as_ref()?.device.as_deref()?;
        Some((self.principal.did()?, device))
    }
}

/// Which devices are signed in.
#[async_trait]
pub trait SignedInDevices: Send + Sync {
    /// Checks that the device `id` of `did` is still signed in: what it was given lives longer than that.
    ///
    /// # Errors
    /// [`AccessError::SignedOut`] if it is not; the database's.
    async fn require(&self, did: &Did, id: &str) -> Result<(), RegistryError>;
}

/// What this registry has taken down.
#[async_trait]
pub trait Takedowns: Send + Sync {
    /// Whether the account `did`, or its repository, is taken down.
    ///
    /// # Errors
    /// The database's.
    async fn is_taken_down(&self, did: &Did, repository: &str) -> Result<bool, RegistryError>;
}

mod sealed {
    pub trait Sealed {}
}

/// What a caller may be granted on a repository.
pub trait Action: sealed::Sealed {
    /// The action's name in an access scope.
    const NAME: &'static str;
    /// Whether it changes something: then only the repository's owner may do it, and a device that was signed out may not.
    const WRITES: bool;
}

/// Reading manifests, tags and blobs.
#[derive(Debug)]
pub enum Pull {}

/// Writing manifests, tags and blobs.
#[derive(Debug)]
pub enum Push {}

/// Deleting manifests, tags and blobs.
#[derive(Debug)]
pub enum Delete {}

macro_rules! action {
    ($type:ty, $name:literal, $writes:literal) => {
        impl sealed::Sealed for $type {}
        impl Action for $type {
            const NAME: &'static str = $name;
            const WRITES: bool = $writes;
        }
    };
}

action!(Pull, "pull", false);
action!(Push, "push", true);
action!(Delete, "delete", true);

/// Decides what callers may do.
#[derive(Clone)]
pub struct Permissions {
    devices: Arc<dyn SignedInDevices>,
    takedowns: Option<Arc<dyn Takedowns>>,
}

impl Permissions {
    /// Asks `devices` whether the device behind a token is still signed in.
    #[must_use]
    pub fn new(devices: Arc<dyn SignedInDevices>) -> Self {
        Self {
            devices,
            takedowns: None,
        }
    }

    /// The same, with what `takedowns` has taken down refused to everybody.
    #[must_use]
    pub fn with_takedowns(mut self, takedowns: Arc<dyn Takedowns>) -> Self {
        self.takedowns = Some(takedowns);
        self
    }

    /// Checks that `caller` may do `A` on the repository of `context`.
    ///
    /// A token's `access` entries name the repository as the token was asked for it, so they are compared with the name as the
    /// client spelled it. Ownership is checked against the resolved account even when the token allows the action: a handle may
    /// have moved since it was issued. A caller without a token signed in on the request itself (Basic).
    ///
    /// # Errors
    /// - [`AccessError::NotCovered`]: the token does not cover the action, and a fresh token may.
    /// - [`AccessError::SignedOut`]: the device that the token was given to is no longer signed in.
    /// - [`AccessError::Denied`]: the principal may not do it whatever the token says.
    /// - [`AccessError::TakenDown`]: nobody may read or write there.
    pub async fn grant<A: Action>(
        &self,
        caller: &Caller,
        context: &RequestContext,
    ) -> Result<Granted<A>, RegistryError> {
        let granted = Granted::check(caller, context)?;
        if A::WRITES
            && let Some((did, device)) = caller.device_of_token()
        {
            self.devices.require(did, device).await?;
        }
        // Owners may still delete what is theirs.
        if A::NAME != Delete::NAME {
            self.require_up(context).await?;
        }
        Ok(granted)
    }

    /// Checks that `caller`, who mounts a blob from there, may read from `source`: the account's own repositories need no word in the token.
    ///
    /// # Errors
    /// [`AccessError::NotCovered`] when it is another account's repository that the token does not cover; [`AccessError::TakenDown`].
    pub async fn grant_mount_source(
        &self,
        caller: &Caller,
        source: &RequestContext,
    ) -> Result<Granted<Pull>, RegistryError> {
        let is_own = caller.principal.did() == Some(&source.owner.did);
        let caller = Caller {
            principal: caller.principal.clone(),
            claims: caller.claims.clone().filter(|_| !is_own),
        };
        let granted = Granted::check(&caller, source)?;
        self.require_up(source).await?;
        Ok(granted)
    }

    /// Checks that the repository is not taken down.
    async fn require_up(&self, context: &RequestContext) -> Result<(), RegistryError> {
        if let Some(takedowns) = &self.takedowns
            && takedowns
                .is_taken_down(&context.owner.did, context.repository())
                .await?
        {
            return Err(AccessError::TakenDown {
                name: context.name.to_string(),
            }
            .into());
        }
        Ok(())
    }

    /// Checks that `caller` may list repositories: the token must have been asked for `registry:catalog:*`.
    ///
    /// # Errors
    /// [`AccessError::NotCovered`] when it was not.
    pub fn grant_catalog(&self, caller: &Caller) -> Result<GrantedCatalog, RegistryError> {
        let covers = |claims: &RegistryClaims| {
            claims
                .access
                .iter()
                .any(|entry| entry.resource_type == "registry" && entry.name == "catalog")
        };
        if caller.claims.as_ref().is_none_or(covers) {
            Ok(GrantedCatalog(caller.principal.clone()))
        } else {
            Err(RegistryError::Access(AccessError::NotCovered))
        }
    }
}

impl std::fmt::Debug for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permissions").finish_non_exhaustive()
    }
}

/// Proof that listing repositories was checked for the principal.
#[derive(Debug)]
pub struct GrantedCatalog(Principal);

impl GrantedCatalog {
    /// Who was granted it.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.0
    }
}

/// Proof that `A` on the context's repository was checked for the principal.
#[derive(Debug)]
pub struct Granted<A: Action> {
    principal: Principal,
    context: RequestContext,
    _action: PhantomData<fn() -> A>,
}

impl<A: Action> Clone for Granted<A> {
    fn clone(&self) -> Self {
        Self {
            principal: self.principal.clone(),
            context: self.context.clone(),
            _action: PhantomData,
        }
    }
}

impl<A: Action> Granted<A> {
    /// What the caller's token and account say, without a look at the device.
    fn check(caller: &Caller, context: &RequestContext) -> Result<Self, RegistryError> {
        if let Some(claims) = &caller.claims
            && !claims.allows(context.name.as_str(), A::NAME)
        {
            return Err(RegistryError::Access(AccessError::NotCovered));
        }
        if A::WRITES {
            match &caller.principal {
                Principal::Anonymous => return Err(RegistryError::Access(AccessError::SignInRequired)),
                Principal::Sailor { did, .. } if *did == context.owner.did => {}
                Principal::Sailor { .. } => {
                    return Err(RegistryError::Access(AccessError::Denied {
                        reason: format!("only the owner of {} may {} there", context.name, A::NAME),
                    }));
                }
            }
        }
        Ok(Self {
            principal: caller.principal.clone(),
            context: context.clone(),
            _action: PhantomData,
        })
    }

    /// Who was granted it.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The repository it was granted on.
    #[must_use]
    pub fn context(&self) -> &RequestContext {
        &self.context
    }
}

impl Granted<Push> {
    /// A push includes reading what is there.
    #[must_use]
    pub fn as_pull(&self) -> Granted<Pull> {
        Granted {
            principal: self.principal.clone(),
            context: self.context.clone(),
            _action: PhantomData,
        }
    }
}
