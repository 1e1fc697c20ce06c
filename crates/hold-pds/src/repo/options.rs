//! What opening a repository takes.

use std::path::PathBuf;

use atcr_atproto::crypto::SigningKey;
use atcr_atproto::syntax::{Did, Tid};

use super::budget::EventBudget;
use crate::log::LogLimits;

/// What followers are known to have got of an account, or of the host that it is served at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The newest event's number; 0 if none is known.
    pub seq: u64,
    /// The newest revision.
    pub rev: Option<Tid>,
}

/// An event that is known to have been written, such as the newest one in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    /// Names its log, in hexadecimal. A restored repository has another one.
    pub log_id: String,
    /// Its number.
    pub seq: u64,
}

/// Where the repository is and whose it is.
#[derive(Clone, Debug)]
pub struct RepoOptions {
    /// Its folder, created when missing. Nothing else lives there.
    pub dir: PathBuf,
    /// Whose repository it is.
    pub did: Did,
    /// The handle that `#identity` events name, if there is one.
    pub handle: Option<String>,
    /// The URL that the DID document names. Another one than at the last opening is told to followers, as is another handle; without
    /// one nothing is compared.
    pub endpoint: Option<String>,
    /// The account whose repository was served at this host before, if this one is new: followers are told that it ended.
    pub replaces: Option<Did>,
    /// Signs commits.
    pub signing_key: SigningKey,
    /// What to do with a repository that another key signed: refuse it, or sign it anew, which tells followers that the
    /// identity has changed.
    pub accept_new_key: bool,
    /// What followers have got already of what a new or a restored repository takes the place of: its numbers and revisions are greater.
    pub seen: Seen,
    /// The newest event that is known from elsewhere. A folder that lacks it is an older copy: opening writes no event to it.
    pub known: Option<KnownEvent>,
    /// Whether an empty folder is refused; otherwise it becomes a new repository.
    pub must_exist: bool,
    /// Bytes of tree nodes kept in memory.
    pub node_cache_bytes: usize,
    /// How many events the repository may make.
    pub events: EventBudget,
    pub(crate) limits: LogLimits,
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
            handle: None,
            endpoint: None,
            replaces: None,
            signing_key,
            accept_new_key: false,
            seen: Seen::default(),
            known: None,
            must_exist: false,
            node_cache_bytes: Self::DEFAULT_NODE_CACHE_BYTES,
            events: EventBudget::DEFAULT,
            limits: LogLimits::DEFAULT,
        }
    }

    /// The bytes that a restore of a copy of `bytes` takes, the copy included: all of it is written anew before the copy goes. Each of
    /// the two has an open segment, whose file has room for what comes.
    #[must_use]
    pub fn restore_room(bytes: u64) -> u64 {
        let prefill = u64::from(LogLimits::DEFAULT.prefill_bytes);
        bytes.saturating_add(prefill).saturating_mul(2)
    }

    /// The bytes of one segment of the log. Its files grow by a thirty-second of it at a time.
    #[must_use]
    pub fn with_segment_bytes(mut self, bytes: u32) -> Self {
        self.limits.segment_bytes = bytes;
        self.limits.prefill_bytes = bytes / 32;
        self
    }

    /// How long events are kept for subscribers that were away.
    #[must_use]
    pub fn with_retention(mut self, retention: std::time::Duration) -> Self {
        self.limits.retention_micros = u64::try_from(retention.as_micros()).unwrap_or(u64::MAX);
        self
    }

    /// The bytes of the log after which a new snapshot is written, at the earliest.
    #[must_use]
    pub fn with_snapshot_after(mut self, bytes: u64) -> Self {
        self.limits.snapshot_after_bytes = bytes;
        self
    }
}
