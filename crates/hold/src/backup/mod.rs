//! The repository's backup: its files, copied to another place while the hold runs.
//!
//! ```text
//! <account>/epoch/<k>                      one for each life of the hold, made if absent
//! <account>/head/<k>                       what life k has uploaded; written last
//! <account>/<log id>/snap/<rev>.car        a snapshot
//! <account>/<log id>/log/<n>.seg           a segment of the log that is full
//! <account>/<log id>/log/<n>.<from>-<to>   a part of the one that is written
//! ```
//! Only bytes that are on the hold's disk are uploaded, under names that never get other bytes. No key is among them.
//!
//! - [`BackupStore`]: the place · [`Head`]: what is there · [`Backup`]: uploads · [`check`]: whether all of it is still there ·
//!   [`life`]: two lives of one account notice each other · [`download`]: the files of a backup

pub mod check;
pub mod download;
mod head;
pub mod life;
mod port;
mod upload;

pub use head::{Head, Stored, StoredFile};
pub use port::{BackupStore, Listed, one_piece, read_whole};
pub use upload::{Backup, BackupStatus, STANDING};

use atcr_atproto::syntax::Did;
use atcr_hold_pds::RepoError;

use crate::blobs::StoreError;

/// Why a backup was not made or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The place does not work.
    #[error("the backup's place does not work")]
    Store(#[from] StoreError),
    /// The repository does not.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// What is there is not what was written.
    #[error("the backup is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The place takes too long.
    #[error("{place} does not answer")]
    NoAnswer {
        /// Which.
        place: String,
    },
    /// There is none.
    #[error("there is no backup of {did} in {place}")]
    None {
        /// Whose.
        did: Did,
        /// Where it was looked for.
        place: String,
    },
    /// The folder is an older copy: events were acknowledged that it does not have.
    #[error(
        "the backup has the event {backup} and this folder, which was opened at {found}, does not: it is an older copy. Move \
         it away and run `atcr-hold repo restore`"
    )]
    OlderCopy {
        /// The backup's newest event.
        backup: u64,
        /// The folder's when it was opened.
        found: u64,
    },
    /// Another process serves this account.
    #[error(
        "another hold has begun to serve this account (life {theirs}; this one is {ours}); this one writes no more"
    )]
    OtherLife {
        /// This process's.
        ours: u64,
        /// The other's.
        theirs: u64,
    },
    /// A file on this machine cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The part of the names that is the account's. Neither `:` nor `%` is welcome everywhere, and `_` is in no DID of a hold.
fn account(did: &Did) -> String {
    did.as_str().replace([':', '%'], "_")
}
