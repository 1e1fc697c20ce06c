//! The key of each kind of object in the store.
//!
//! ```text
//! docker/registry/v2/blobs/sha256/<ab>/<hex>/data    a blob
//! blobs/sha256/<ab>/<hex>/data                       a blob of an older layout, only read
//! docker/registry/v2/uploads/temp-<uuid>/data        an upload that is not finished
//! atcr-hold/owner                                    the DID of the hold that removes blobs here
//! repos/<did with '-' for ':'>/blobs/<cid>/data      an AT Protocol blob of the hold itself
//! ```

use std::fmt;
use std::str::FromStr;

use atcr_atproto::Cid;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use thiserror::Error;
use uuid::Uuid;

const BLOBS: &str = "docker/registry/v2/blobs/";
const LEGACY_BLOBS: &str = "blobs/";
/// What every unfinished upload's key begins with.
pub(crate) const UPLOADS_PREFIX: &str = "docker/registry/v2/uploads/temp-";
const DATA: &str = "/data";

/// S3's limit, in bytes.
const MAX_LEN: usize = 1024;

/// The key of one object: segments of `A-Z a-z 0-9 . _ - %`, separated by single slashes. No segment is `.` or `..`, so that
/// a key is also a safe relative path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// The text is no object key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an object key")]
pub struct InvalidObjectKey;

impl ObjectKey {
    /// The content address of a blob.
    #[must_use]
    pub fn blob(digest: &Digest) -> Self {
        Self(format!("{BLOBS}{}", content_path(digest)))
    }

    /// Where older holds kept the same blob.
    #[must_use]
    pub fn legacy_blob(digest: &Digest) -> Self {
        Self(format!("{LEGACY_BLOBS}{}", content_path(digest)))
    }

    /// The key of an upload that has not finished, named by `unique`.
    #[must_use]
    pub fn upload(unique: Uuid) -> Self {
        Self(format!("{UPLOADS_PREFIX}{unique}{DATA}"))
    }

    /// The key of an AT Protocol blob (avatar, report, …) in the repository of `did`.
    #[must_use]
    pub fn atproto_blob(did: &Did, cid: &Cid) -> Self {
        Self(format!(
            "repos/{}/blobs/{cid}{DATA}",
            did.as_str().replace(':', "-")
        ))
    }

    /// The key of the object that says whose the store is.
    #[must_use]
    pub fn owner() -> Self {
        Self("atcr-hold/owner".to_owned())
    }

    /// The key's text, without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest, if this is the key of a blob, in either layout.
    #[must_use]
    pub fn blob_digest(&self) -> Option<Digest> {
        let path = self
            .0
            .strip_prefix(BLOBS)
            .or_else(|| self.0.strip_prefix(LEGACY_BLOBS))?;
        let mut segments = path.strip_suffix(DATA)?.split('/');
        let (algorithm, prefix, hex) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some() || !hex.starts_with(prefix) || prefix.len() != 2 {
            return None;
        }
        format!("{algorithm}:{hex}").parse().ok()
    }

    /// The unique name, if this is the key of an unfinished upload.
    #[must_use]
    pub fn upload_uuid(&self) -> Option<Uuid> {
        let text = self.0.strip_prefix(UPLOADS_PREFIX)?.strip_suffix(DATA)?;
        Uuid::try_parse(text).ok().filter(|uuid| uuid.to_string() == text)
    }
}

fn content_path(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{}/{}/{hex}{DATA}", digest.algorithm(), &hex[..2])
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidObjectKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-%".contains(&byte);
        let safe = |segment: &str| {
            !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
        };
        if text.len() > MAX_LEN || !text.split('/').all(safe) {
            return Err(InvalidObjectKey);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_blob_has_the_key_of_the_distribution_layout() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let key = ObjectKey::blob(&digest);
        assert_eq!(
            key.as_str(),
            format!("docker/registry/v2/blobs/sha256/e3/{HEX}/data")
        );
        assert_eq!(key.blob_digest(), Some(digest.clone()));
        let legacy = ObjectKey::legacy_blob(&digest);
        assert_eq!(legacy.as_str(), format!("blobs/sha256/e3/{HEX}/data"));
        assert_eq!(legacy.blob_digest(), Some(digest));
        assert_eq!(key.as_str().parse(), Ok(key));
    }

    #[test]
    fn a_sha512_blob_has_its_own_folder() {
        let digest = Digest::of(atcr_oci::Algorithm::Sha512, b"");
        assert!(
            ObjectKey::blob(&digest)
                .as_str()
                .starts_with("docker/registry/v2/blobs/sha512/cf/cf83e1357eef")
        );
    }

    #[test]
    fn an_upload_key_names_its_uuid() {
        let uuid = Uuid::from_u128(7);
        let key = ObjectKey::upload(uuid);
        assert_eq!(
            key.as_str(),
            "docker/registry/v2/uploads/temp-00000000-0000-0000-0000-000000000007/data"
        );
        assert_eq!(key.upload_uuid(), Some(uuid));
        assert_eq!(key.blob_digest(), None);
    }

    #[test]
    fn a_did_becomes_one_segment() {
        let did: Did = "did:web:localhost%3A8080".parse().unwrap();
        let cid: Cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
            .parse()
            .unwrap();
        let key = ObjectKey::atproto_blob(&did, &cid);
        assert_eq!(
            key.as_str(),
            format!("repos/did-web-localhost%3A8080/blobs/{cid}/data")
        );
        assert_eq!(key.as_str().parse(), Ok(key));
    }

    #[test]
    fn a_key_cannot_leave_its_folder() {
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a/.",
            "a\\b",
            "a b",
            "a\0b",
            "ä",
            &"a/".repeat(600),
        ] {
            assert_eq!(text.parse::<ObjectKey>(), Err(InvalidObjectKey), "{text:?}");
        }
    }
}
