//! Why a hold does not start.

use std::path::PathBuf;

#[cfg(feature = "pages")]
use atcr_atproto::crypto::CryptoError;
use atcr_atproto::egress::EgressError;
#[cfg(feature = "pages")]
use atcr_auth::oauth::OAuthError;
use atcr_hold_pds::RepoError;
use atcr_hold_pds::records::captain::CaptainError;
use atcr_server::database::OpenError;

use crate::blobs::ObjectKey;
use crate::gc::GcError;
use crate::identity::{IdentityError, WatchError};
use crate::scanning::ScanTableError;

/// Why the hold does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made.
    #[error("cannot make the data folder {}", path.display())]
    DataDir {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The hold has no identity, or may not use it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The repository does not open.
    #[error("cannot open the repository")]
    Repo(#[source] RepoError),
    /// The document cannot be read, or the key not changed, while the hold runs.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The table of uploads does not open.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The table of scans cannot be read.
    #[error(transparent)]
    Scans(#[from] ScanTableError),
    /// What the garbage collection knows cannot be read.
    #[error("cannot open the garbage collection")]
    Collection(#[source] GcError),
    /// Another hold has the store.
    #[error(
        "the object store belongs to {other}: of two holds in one store, each would remove what only the other one knows. If that one is \
         no more, remove the object {}",
        ObjectKey::owner()
    )]
    OtherHoldsStore {
        /// The other hold.
        other: String,
    },
    /// The object store does not open.
    #[error("cannot open the object store in {}", path.display())]
    Store {
        /// Its folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The client for relays cannot be made.
    #[error("cannot make the client for relays")]
    Relays(#[from] EgressError),
    /// The key of the hold as an OAuth client cannot be used.
    #[cfg(feature = "pages")]
    #[error("cannot use the key of the hold as an OAuth client")]
    ClientKey(#[source] CryptoError),
    /// The hold cannot be an OAuth client under its URL.
    #[cfg(feature = "pages")]
    #[error("the hold cannot be an OAuth client")]
    Registration(#[source] OAuthError),
    /// The account had a repository, which is not in the folder.
    #[error(
        "there is no repository in {}, and {place} has a backup of it with events up to {seq}: run `atcr-hold repo restore`. To \
         begin a new hold of the same name instead, set backup.prefix to another place",
        path.display()
    )]
    NotRestored {
        /// The repository's folder.
        path: PathBuf,
        /// Where the backup is.
        place: String,
        /// The newest event in it.
        seq: u64,
    },
    /// The folder is empty, and it cannot be told whether the account has a backup.
    #[error(
        "{} is empty, and whether {place} has a backup of this account is not known: {reason}; start again when it answers, or \
         set backup.enabled to false for a hold that never had one",
        path.display()
    )]
    BackupUnknown {
        /// The repository's folder.
        path: PathBuf,
        /// Where the backup would be.
        place: String,
        /// Why it is not known.
        reason: String,
    },
    /// The hold has no captain.
    #[error(transparent)]
    Captain(#[from] CaptainError),
}
