//! How much fits in one commit.
//!
//! # Spec
//! atproto specs "Sync", repository event limits.

/// Operations of one commit.
pub const MAX_OPS: usize = 200;
/// Bytes of one encoded record.
pub const MAX_RECORD_BYTES: usize = 1_000_000;
/// Bytes of the CAR of one commit, as a firehose sends it.
pub const MAX_COMMIT_CAR_BYTES: usize = 2_000_000;
