//! Parts of record keys that several collections share.

use sha2::{Digest as _, Sha256};

use crate::syntax::{Did, RecordKey, SyntaxError};

/// Bytes of the hash that go into a key of their own.
const KEY_HASH_LEN: usize = 16;

/// The key of a record about one repository of one account.
pub(super) fn of_repository(owner: &Did, repository: &str) -> Result<RecordKey, SyntaxError> {
    of_text(&format!("{owner}/{repository}"))
}

/// 26 characters: lower-case base32 without padding of the first 16 bytes of the text's SHA-256.
pub(super) fn of_text(text: &str) -> Result<RecordKey, SyntaxError> {
    base32(&Sha256::digest(text.as_bytes())[..KEY_HASH_LEN]).parse()
}

/// The first `len` characters of the lower-case base32 of the text's SHA-256.
pub(super) fn hash_prefix(text: &str, len: usize) -> String {
    let mut encoded = base32(&Sha256::digest(text.as_bytes()));
    encoded.truncate(len);
    encoded
}

fn base32(bytes: &[u8]) -> String {
    data_encoding::BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// A repository name with `/`, which a key cannot have, as `~`, which a repository name cannot have.
pub(super) fn escape(repository: &str) -> String {
    repository.replace('/', "~")
}

/// The reverse of [`escape`].
pub(super) fn unescape(key: &str) -> String {
    key.replace('~', "/")
}
