//! Whom a request speaks for.

use atcr_atproto::syntax::Did;
use serde::{Deserialize, Serialize};

/// How a sailor signed in, which decides how the AppView reaches their PDS on their behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthMethod {
    /// Through an OAuth session, directly or by a device secret. On the wire `oauth`.
    #[serde(rename = "oauth")]
    OAuth,
    /// With an app password. On the wire `app_password`.
    #[serde(rename = "app_password")]
    AppPassword,
}

/// Whom a verified token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A caller without an account; may pull what is public.
    Anonymous,
    /// An account.
    Sailor {
        /// The account.
        did: Did,
        /// How it signed in.
        auth_method: AuthMethod,
    },
}

impl Principal {
    /// The account, unless anonymous.
    #[must_use]
    pub fn did(&self) -> Option<&Did> {
        match self {
            Self::Anonymous => None,
            Self::Sailor { did, .. } => Some(did),
        }
    }

    /// How the account signed in, unless anonymous.
    #[must_use]
    pub fn auth_method(&self) -> Option<AuthMethod> {
        match self {
            Self::Anonymous => None,
            Self::Sailor { auth_method, .. } => Some(*auth_method),
        }
    }
}
