//! What opening a repository takes.

use std::path::PathBuf;

use atcr_atproto::crypto::SigningKey;
use atcr_atproto::syntax::Did;

/// Where the repository is and whose it is.
#[derive(Clone, Debug)]
pub struct RepoOptions {
    /// Its folder, created when missing. Nothing else lives there.
    pub dir: PathBuf,
    /// Whose repository it is.
    pub did: Did,
    /// Signs commits. A repository that another key signed gets a new commit by this one when it is opened.
    pub signing_key: SigningKey,
    /// Bytes of tree nodes kept in memory.
    pub node_cache_bytes: usize,
}

impl RepoOptions {
    /// 8 MiB: the inner nodes of a tree of some hundred thousand records.
    pub const DEFAULT_NODE_CACHE_BYTES: usize = 8 * 1024 * 1024;

    /// The repository of `did` in `dir`, with defaults for the rest.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, did: Did, signing_key: SigningKey) -> Self {
        Self {
            dir: dir.into(),
            did,
            signing_key,
            node_cache_bytes: Self::DEFAULT_NODE_CACHE_BYTES,
        }
    }
}
