//! The port to accounts' own servers.

use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::Collection;
use atcr_index::change::{IdentityStep, Status};
use atcr_index::fact::RecordFact;
use bytes::Bytes;

/// Why an account's server gave no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// Not now; perhaps later.
    #[error("not now: {detail}")]
    Later {
        /// For the log, without secrets.
        detail: String,
        /// When the server said to come again.
        after: Option<Duration>,
    },
    /// The account has no server that can be asked, or no identity.
    #[error("the account cannot be read: {0}")]
    Unreadable(String),
}

/// The state of an account at its own server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// It is served, at this revision.
    At(Tid),
    /// It is not served.
    Inactive(Status),
}

/// Records of one collection.
#[derive(Clone, Debug)]
pub struct SourcePage {
    /// The records, as the server lists them.
    pub records: Vec<RecordFact>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
    /// Length of the page in bytes.
    pub size_bytes: u64,
}

/// Accounts, at the servers that their DID documents name.
#[async_trait]
pub trait AccountSource: Send + Sync {
    /// Who the account is now, its handle confirmed in both directions.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`] for a DID that is gone.
    async fn identity(&self, did: &Did) -> Result<IdentityStep, SourceError>;

    /// The next answer about who the account is does not come from a cache, unless this is said of the account too often.
    async fn forget_identity(&self, did: &Did);

    /// Whether the account has records of any of our collections.
    async fn has_records(&self, did: &Did) -> Result<bool, SourceError>;

    /// The key that signs the account's commits; with `anew` not from a cache. `None` when its document has none.
    async fn signing_key(&self, did: &Did, anew: bool) -> Result<Option<PublicKey>, SourceError>;

    /// Where the account is now.
    async fn head(&self, did: &Did) -> Result<Head, SourceError>;

    /// The blocks of the account's repository that are new since `since`, a CAR. `None` when the server does not say, or when they are
    /// more than [`MAX_DIFFERENCE`](crate::difference::MAX_DIFFERENCE).
    async fn difference(&self, did: &Did, since: &Tid) -> Result<Option<Bytes>, SourceError>;

    /// A page of the account's records.
    async fn page(
        &self,
        did: &Did,
        collection: Collection,
        cursor: Option<&str>,
    ) -> Result<SourcePage, SourceError>;
}
