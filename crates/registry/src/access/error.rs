//! Why a caller is not allowed to do what it asks for.

/// What is wrong with who asks.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    /// This needs a sign-in.
    #[error("authentication required")]
    SignInRequired,
    /// The caller's token was not issued for this; another one may be.
    #[error("the token does not cover this request")]
    NotCovered,
    /// What the caller signed in with is not, or no longer, good.
    #[error("{reason}")]
    SignedOut {
        /// The sentence for people.
        reason: String,
    },
    /// The caller's session at its PDS is over.
    #[error("{sentence}")]
    SessionEnded {
        /// The sentence, which says how or where to sign in again.
        sentence: String,
    },
    /// Known, and not allowed.
    #[error("{reason}")]
    Denied {
        /// Why, and what would help.
        reason: String,
    },
    /// The labeler that this registry trusts took it down.
    #[error("{name} was taken down by this registry")]
    TakenDown {
        /// The repository, as the client spelled it.
        name: String,
    },
}
