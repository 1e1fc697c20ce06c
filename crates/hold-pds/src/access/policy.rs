//! The permission matrix: who may read, write and administer a hold.
//!
//! | Caller | read, public | read, private | write | crew admin |
//! |---|---|---|---|---|
//! | anonymous | yes | no | no | no |
//! | signed in, not crew | yes | no | no | no |
//! | crew `blob:read` | yes | yes | no | no |
//! | crew `blob:write` | yes | yes | yes | no |
//! | crew `crew:admin` | yes | yes | yes | yes |
//! | captain | yes | yes | yes | yes |
//! | scanner, by the hold's secret | yes | yes | no | no |
//!
//! A crew record's `role` is a label and decides nothing.

use std::fmt;

use atcr_atproto::syntax::Did;

use super::granted::{Action, BlobRead, BlobWrite, CrewAdmin, Granted};
use super::permission::{Permission, Permissions};

/// What a signed-in caller is to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Owns the hold.
    Captain,
    /// Has a crew record with these permissions.
    Crew(Permissions),
    /// Neither.
    Stranger,
}

impl Membership {
    fn allows(self, permission: Permission) -> bool {
        match self {
            Self::Captain => true,
            Self::Stranger => false,
            Self::Crew(permissions) => permissions.imply(permission),
        }
    }
}

/// Why an action was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// The caller is neither captain nor crew.
    NotCrew,
    /// The caller is crew, without the permission.
    LacksPermission,
}

/// An action that the policy refused.
///
/// Displays as `access denied for blob:read: user is not a crew member (required: blob:read or blob:write)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessDenied {
    /// The action's name.
    pub action: &'static str,
    /// Why.
    pub reason: DenialReason,
    /// The permissions of which one would have sufficed.
    pub required: &'static [Permission],
}

impl AccessDenied {
    fn of<A: Action>(membership: Membership) -> Self {
        Self {
            action: A::NAME,
            reason: match membership {
                Membership::Stranger => DenialReason::NotCrew,
                Membership::Crew(_) | Membership::Captain => DenialReason::LacksPermission,
            },
            required: A::REQUIRED,
        }
    }
}

impl fmt::Display for AccessDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            DenialReason::NotCrew => "user is not a crew member",
            DenialReason::LacksPermission => "crew member lacks permission",
        };
        write!(f, "access denied for {}: {reason} (required: ", self.action)?;
        for (index, permission) in self.required.iter().enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            write!(f, "{permission}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for AccessDenied {}

/// A scanner is no account; whether it knows the secret is decided at the edge.
pub(super) fn read_as_scanner() -> Granted<BlobRead> {
    Granted::new(None)
}

/// Reading without being known, which only a public hold allows.
pub(super) fn read_anonymously(public: bool) -> Option<Granted<BlobRead>> {
    public.then(|| Granted::new(None))
}

/// Reading as `did`; on a public hold the membership does not matter.
pub(super) fn read(
    did: &Did,
    public: bool,
    membership: Membership,
) -> Result<Granted<BlobRead>, AccessDenied> {
    if public || membership.allows(Permission::BlobRead) {
        Ok(Granted::new(Some(did.clone())))
    } else {
        Err(AccessDenied::of::<BlobRead>(membership))
    }
}

/// Writing, public or private alike.
pub(super) fn write(did: &Did, membership: Membership) -> Result<Granted<BlobWrite>, AccessDenied> {
    if membership.allows(Permission::BlobWrite) {
        Ok(Granted::new(did.clone()))
    } else {
        Err(AccessDenied::of::<BlobWrite>(membership))
    }
}

/// Managing the crew.
pub(super) fn crew_admin(did: &Did, membership: Membership) -> Result<Granted<CrewAdmin>, AccessDenied> {
    if membership.allows(Permission::CrewAdmin) {
        Ok(Granted::new(did.clone()))
    } else {
        Err(AccessDenied::of::<CrewAdmin>(membership))
    }
}
