//! Permission as a value: a use case that writes takes a [`Granted`], and only this module makes one.

pub mod scopes;

use std::marker::PhantomData;

use atcr_auth::principal::Principal;
use atcr_auth::registry_token::RegistryClaims;

use crate::context::RequestContext;
use crate::error::RegistryError;

mod sealed {
    pub trait Sealed {}
}

/// What a caller may be granted on a repository.
pub trait Action: sealed::Sealed {
    /// The action's name in an access scope.
    const NAME: &'static str;
    /// Whether only the repository's owner may do it.
    const OWNER_ONLY: bool;
}

/// Reading manifests, tags and blobs.
#[derive(Debug)]
pub enum Pull {}

/// Writing manifests, tags and blobs.
#[derive(Debug)]
pub enum Push {}

/// Deleting manifests and tags.
#[derive(Debug)]
pub enum Delete {}

macro_rules! action {
    ($type:ty, $name:literal, $owner_only:literal) => {
        impl sealed::Sealed for $type {}
        impl Action for $type {
            const NAME: &'static str = $name;
            const OWNER_ONLY: bool = $owner_only;
        }
    };
}

action!(Pull, "pull", false);
action!(Push, "push", true);
action!(Delete, "delete", true);

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
    /// Checks that `principal` may do `A` on the repository of `context`.
    ///
    /// `claims` are those of the registry token; `None` when the caller signed in on the request itself (Basic), where
    /// the principal alone decides. A token's `access` entries name the repository as the token was asked for it, so
    /// they are compared with the name as the client spelled it. Ownership is checked against the resolved account
    /// even when the token allows the action: a handle may have moved since it was issued.
    ///
    /// # Errors
    /// - [`RegistryError::Unauthenticated`]: the token does not cover the action; a fresh token may.
    /// - [`RegistryError::Denied`]: the principal may not do it whatever the token says.
    pub fn check(
        principal: &Principal,
        claims: Option<&RegistryClaims>,
        context: &RequestContext,
    ) -> Result<Self, RegistryError> {
        if let Some(claims) = claims
            && !claims.allows(context.name.as_str(), A::NAME)
        {
            return Err(RegistryError::insufficient_scope());
        }
        if A::OWNER_ONLY {
            match principal {
                Principal::Anonymous => return Err(RegistryError::sign_in_required()),
                Principal::Sailor { did, .. } if *did == context.owner.did => {}
                Principal::Sailor { .. } => {
                    return Err(RegistryError::Denied {
                        reason: format!("only the owner of {} may {} there", context.name, A::NAME),
                    });
                }
            }
        }
        Ok(Self {
            principal: principal.clone(),
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
    /// A push includes reading what is there (a mount's source, the blob just written).
    #[must_use]
    pub fn as_pull(&self) -> Granted<Pull> {
        Granted {
            principal: self.principal.clone(),
            context: self.context.clone(),
            _action: PhantomData,
        }
    }
}
