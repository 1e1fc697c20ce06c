//! What a registry token says.

use atcr_atproto::syntax::Did;
use atcr_oci::AccessScope;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::principal::{AuthMethod, Principal};

/// The claims of a registry token. Times are Unix seconds on the wire.
///
/// # Spec
/// distribution, "Token Authentication Implementation".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryClaims {
    /// Service name of the registry.
    pub iss: String,
    /// The same.
    pub aud: String,
    /// The sailor; absent for an anonymous token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<Did>,
    /// End of life, exclusive.
    #[serde(with = "chrono::serde::ts_seconds")]
    pub exp: DateTime<Utc>,
    /// Beginning of life.
    #[serde(with = "chrono::serde::ts_seconds")]
    pub nbf: DateTime<Utc>,
    /// When it was issued.
    #[serde(with = "chrono::serde::ts_seconds")]
    pub iat: DateTime<Utc>,
    /// Random, for logs.
    pub jti: String,
    /// What the bearer may do.
    pub access: Vec<AccessEntry>,
    /// How the sailor signed in; absent for an anonymous token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<AuthMethod>,
    /// The public id of the device that signed in, if one did: what it may write ends when the device is revoked, not with the
    /// token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// One granted scope: `{"type":"repository","name":"alice.example.com/app","actions":["pull","push"]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// `repository`, or `registry` for the catalogue.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// The resource, as it was asked for.
    pub name: String,
    /// `pull`, `push`, `delete`, `*`.
    pub actions: Vec<String>,
}

impl From<AccessScope> for AccessEntry {
    fn from(scope: AccessScope) -> Self {
        Self {
            resource_type: scope.resource_type,
            name: scope.name,
            actions: scope.actions,
        }
    }
}

impl From<AccessEntry> for AccessScope {
    fn from(entry: AccessEntry) -> Self {
        Self {
            resource_type: entry.resource_type,
            name: entry.name,
            actions: entry.actions,
        }
    }
}

impl RegistryClaims {
    /// Whom the token speaks for. `None` if subject and sign-in method are not both there or both absent.
    #[must_use]
    pub fn principal(&self) -> Option<Principal> {
        match (&self.sub, self.auth_method) {
            (None, None) => Some(Principal::Anonymous),
            (Some(did), Some(auth_method)) => Some(Principal::Sailor {
                did: did.clone(),
                auth_method,
            }),
            _ => None,
        }
    }

    /// Whether `action` on the repository `name` was granted. `*` grants every action.
    #[must_use]
    pub fn allows(&self, name: &str, action: &str) -> bool {
        self.access.iter().any(|entry| {
            entry.resource_type == "repository"
                && entry.name == name
                && entry
                    .actions
                    .iter()
                    .any(|granted| granted == action || granted == "*")
        })
    }
}
