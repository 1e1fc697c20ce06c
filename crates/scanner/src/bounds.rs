//! Bounds of what an image may be, and of what the tools may take.

use std::time::Duration;

/// How much of an image is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageBounds {
    /// Layers.
    pub layers: usize,
    /// Bytes of all layers, unpacked.
    pub unpacked_bytes: u64,
    /// Entries of all layers.
    pub entries: u64,
    /// Bytes of one path.
    pub path_bytes: usize,
    /// How many bytes one compressed byte may unpack to, once a layer has more than [`Self::ratio_free_bytes`].
    pub ratio: u64,
    /// Bytes of a layer for which the ratio does not count.
    pub ratio_free_bytes: u64,
}

impl Default for ImageBounds {
    fn default() -> Self {
        Self {
            layers: 512,
            unpacked_bytes: 20 << 30,
            entries: 500_000,
            path_bytes: 4096,
            ratio: 200,
            ratio_free_bytes: 64 << 20,
        }
    }
}

/// What one run of a tool may take. Files and disk follow from what is in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolBounds {
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Time to list the packages.
    pub catalogue_time: Duration,
    /// Time to list them again without the costly kinds.
    pub partial_catalogue_time: Duration,
    /// Time to look them up.
    pub match_time: Duration,
}

impl ToolBounds {
    /// These shares of `job`, the time of a whole job: the rest is for fetching.
    #[must_use]
    pub fn within(job: Duration, memory_bytes: u64) -> Self {
        Self {
            memory_bytes,
            catalogue_time: job * 45 / 100,
            partial_catalogue_time: job * 20 / 100,
            match_time: job * 20 / 100,
        }
    }
}

/// Longest manifest record, config and other small blob in bytes.
pub const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// What a tool may write into one file beyond the largest layer, for its own lists.
pub const FILE_SLACK_BYTES: u64 = 64 << 20;

/// What a tool may write in all beyond the layers.
pub const DISK_SLACK_BYTES: u64 = 1 << 30;

/// Longest document that a hold takes, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = atcr_scan_protocol::bounds::MAX_DOCUMENT_BYTES;
