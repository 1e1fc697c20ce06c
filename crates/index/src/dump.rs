//! The canonical dump: what the index says, without what depends on the way it came there.
//!
//! Two indexes of the same network give the same lines, whatever events they saw and in which order. Numbers of rows, revisions, proofs,
//! times, histories and pulls by day are not in it.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// One line. Lines sort by kind, then by their fields in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DumpLine {
    /// An account.
    Account {
        /// DID.
        did: String,
        /// Handle; empty for none.
        handle: String,
        /// Whether its repositories are shown.
        visible: bool,
    },
    /// A record.
    Record {
        /// Whose.
        did: String,
        /// Collection.
        collection: &'static str,
        /// Key.
        rkey: String,
        /// CID of its value.
        cid: String,
    },
    /// A repository that exists.
    Repository {
        /// Whose.
        did: String,
        /// Name.
        name: String,
        /// Tags, without fallback tags.
        tags: i64,
        /// Fallback tags.
        fallback_tags: i64,
        /// Manifest records.
        manifests: i64,
        /// Manifests with a subject.
        referrers: i64,
        /// Stars of visible accounts.
        stars: i64,
        /// Whether it is shown.
        listed: bool,
    },
    /// A takedown.
    Takedown {
        /// The account.
        did: String,
        /// The repository; empty for the account.
        repository: String,
    },
    /// Where a tag points.
    Winner {
        /// Whose.
        did: String,
        /// Repository.
        repository: String,
        /// Tag.
        tag: String,
        /// Digest; empty for a tag that points nowhere.
        digest: String,
    },
}

/// The SHA-256 over the lines as JSON, one per line, in the order in which they come.
#[derive(Default)]
pub struct DumpHash(Sha256);

impl DumpHash {
    /// Adds a line.
    pub fn add(&mut self, line: &DumpLine) {
        // Strings and numbers always encode.
        self.0.update(serde_json::to_vec(line).unwrap_or_default());
        self.0.update(b"\n");
    }

    /// The hash, 64 hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        self.0.finalize().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}
