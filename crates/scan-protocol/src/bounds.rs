//! Bounds of everything that a peer says.

/// Bytes of one document, uncompressed.
pub const MAX_DOCUMENT_BYTES: usize = 100 * 1024 * 1024;

/// Bytes of one document as it is uploaded, compressed. Documents of that kind compress by ten and more.
pub const MAX_COMPRESSED_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of a message with both documents in base64, and room for the rest.
pub const MAX_RESULT_MESSAGE_BYTES: usize = 2 * (MAX_DOCUMENT_BYTES / 3 * 4 + 4) + 64 * 1024;

/// Bytes of any message without documents.
pub const MAX_SMALL_MESSAGE_BYTES: usize = 64 * 1024;

/// Bytes of a repository's name.
pub const MAX_REPOSITORY_LEN: usize = 256;

/// Bytes of a tag.
pub const MAX_TAG_LEN: usize = 256;

/// Bytes of the reason why a scan failed.
pub const MAX_ERROR_LEN: usize = 1024;

/// Bytes of the scanner's name and version.
pub const MAX_VERSION_LEN: usize = 64;

/// Bytes of a class of failure, a stage, a tool's name or version.
pub const MAX_WORD_LEN: usize = 64;

/// Tools of one result.
pub const MAX_TOOLS: usize = 8;

/// Findings of one severity, or in all.
pub const MAX_FINDINGS: u64 = 100_000_000;

/// Scans that one scanner may work on at the same time.
pub const MAX_WORKERS: u16 = 64;

/// Seconds of a lease.
pub const MAX_LEASE_SECONDS: u64 = 24 * 60 * 60;

/// `text`, or as much of its start as `max` bytes hold whole characters of.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
