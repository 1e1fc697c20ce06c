//! Keys of the tree: `<collection>/<rkey>`.

use sha2::{Digest as _, Sha256};

/// Longest key, in bytes. A collection's name has at most 317, a record key 512.
///
/// Without a bound, a node of two megabytes would unfold to gigabytes: each key repeats what it has in common with the one before it.
pub const MAX_KEY_BYTES: usize = 1024;

/// The layer a key lives on: leading zero bits of its SHA-256, in pairs.
///
/// # Spec
/// atproto specs "Repository", MST structure: depth with a fanout of 4.
#[must_use]
pub fn height(key: &[u8]) -> u8 {
    let hash = Sha256::digest(key);
    let mut zeros = 0_u32;
    for byte in hash {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    // At most 256 bits, so at most 128 pairs.
    u8::try_from(zeros / 2).unwrap_or(u8::MAX)
}

/// How many bytes two keys have in common at their beginning.
#[must_use]
pub fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count()
}
