//! Why an account does not have what was asked of it, or is not to be believed.

use atcr_atproto::syntax::Did;

/// What is wrong with the account that a repository belongs to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccountError {
    /// The identity does not exist, or the account has no such repository.
    #[error("repository {name} is not known: {reason}")]
    NameUnknown {
        /// The repository as it was spelled.
        name: String,
        /// Which part is missing.
        reason: String,
    },
    /// What was asked for is not among the account's records that were listed, and it has more.
    #[error(
        "not found among the records of {did} that this registry lists; the account has too many to list them all"
    )]
    TooLarge {
        /// The account.
        did: Did,
    },
    /// The account's PDS serves an older state of it than it has served before.
    #[error(
        "refused: the PDS of {did} serves revision {rev}, which is older than the {newest} that it served before; a new write to \
         the account, a push for example, mends this if it was restored from a backup"
    )]
    RolledBack {
        /// The account.
        did: Did,
        /// The revision that it serves.
        rev: String,
        /// The newest that was seen.
        newest: String,
    },
}
