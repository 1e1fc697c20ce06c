//! Who the hold is: its DID, the document that the network reads, and the keys.
//!
//! | Module | Does |
//! |---|---|
//! | [`folder`] | the files in the data folder; nothing missing becomes new |
//! | [`plc`] | a did:plc in its directory: made, taken over, kept up to date |
//! | [`establish`] | the start: files, directory and repository are brought together |
//! | [`predecessor`] | what followers have got already where a new repository begins |
//! | [`watch`] | while the hold runs: the document is read again |
//! | [`key_change`] | changing the signing key while the hold runs |
//!
//! The commands are in [`crate::commands::identity`].

pub(crate) mod establish;
pub(crate) mod folder;
pub(crate) mod key_change;
pub(crate) mod plc;
pub(crate) mod predecessor;
pub(crate) mod watch;

pub use watch::WatchError;

use std::path::PathBuf;

use atcr_atproto::crypto::CryptoError;
use atcr_atproto::egress::EgressError;
use atcr_atproto::plc::DirectoryError;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::RepoError;
use atcr_hold_pds::identity::HoldIdentityError;

/// Why the hold has no identity, or may not use it. Each says what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// DID, signing key and repository belong together, and one of them is gone.
    #[error(
        "{} is missing, and {} is not the folder of a new hold: restore it from a backup. If it is lost, `atcr-hold identity \
         recover` goes on under the same DID, with a new key or an empty repository for what is missing",
        path.display(), data_dir.display()
    )]
    Incomplete {
        /// What is missing.
        path: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
    },
    /// The folder is that of another DID.
    #[error(
        "{what} is that of {found}, and {expected} is configured: set database.did or database.did_method to match it"
    )]
    OtherDid {
        /// What says so.
        what: String,
        /// What it says.
        found: String,
        /// What the settings say.
        expected: String,
    },
    /// `did.txt` does not have a DID.
    #[error("{} does not hold a DID", path.display())]
    DidFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of the identity cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A key's file cannot be used.
    #[error("a key cannot be used")]
    Key(#[source] CryptoError),
    /// The repository's manifest cannot be read.
    #[error(transparent)]
    Repo(RepoError),
    /// The public URL is not one of a hold.
    #[error(transparent)]
    Url(#[from] HoldIdentityError),
    /// The client for the directory cannot be built.
    #[error(transparent)]
    Client(#[from] EgressError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The document names another signing key.
    #[error(
        "the document of {did} names the signing key {named}, and this hold's is {ours}: restore the key that it names, or run \
         `atcr-hold identity recover` if this hold shall take the DID over"
    )]
    NamesAnotherKey {
        /// The DID.
        did: Did,
        /// The key in the document, or "none".
        named: String,
        /// The key in the folder.
        ours: String,
    },
    /// The DID has a repository already.
    #[error(
        "{did} is the identity of a hold or account that has a repository at {endpoint}: restore its folder, or run \
         `atcr-hold identity recover` to begin with an empty repository under it"
    )]
    InUse {
        /// The DID.
        did: Did,
        /// Where.
        endpoint: String,
    },
    /// The DID has to be changed, and no key that may do so is here.
    #[error(
        "{did} has to be changed, and its rotation key is not here: put it into {} or set database.rotation_key (the document \
         takes {accepted})",
        path.display()
    )]
    NoRotationKey {
        /// The DID.
        did: Did,
        /// Where it is expected.
        path: PathBuf,
        /// Keys that may change it.
        accepted: String,
    },
    /// The document does not show the new key.
    #[error(
        "the directory has taken the new signing key of {did} and does not show it yet; start the hold again later"
    )]
    NotShown {
        /// The DID.
        did: Did,
    },
}
