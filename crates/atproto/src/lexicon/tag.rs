//! `io.atcr.tag`: a name for a manifest.

use serde::{Deserialize, Serialize};

use super::{Record, manifest, nsid, record_key};
use crate::syntax::{AtUri, Datetime, Did, RecordKey, SyntaxError};

/// A tag. Written with both pointers and both times, for every generation of readers.
///
/// # Spec
/// `io.atcr.tag`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagRecord {
    /// The image name without the identity.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Address of the manifest's record. Read it through [`digest`](Self::digest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The manifest's digest; the only pointer of older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// When the tag was last moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Datetime>,
    /// The same, under the name of an older generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Datetime>,
}

impl Record for TagRecord {
    const NSID: &'static str = nsid::TAG;
}

impl TagRecord {
    /// A tag of `owner`'s `repository` for the manifest with `digest`.
    ///
    /// # Errors
    /// [`SyntaxError`] if `digest` is not a SHA-256 or SHA-512 digest.
    pub fn new(
        owner: &Did,
        repository: impl Into<String>,
        tag: impl Into<String>,
        digest: &str,
        now: Datetime,
    ) -> Result<Self, SyntaxError> {
        Ok(Self {
            repository: repository.into(),
            tag: tag.into(),
            manifest: Some(manifest::at_uri(owner, digest)?.into()),
            manifest_digest: Some(digest.to_owned()),
            updated_at: Some(now.clone()),
            created_at: Some(now),
        })
    }

    /// The digest the tag points at: from `manifest`, else `manifestDigest`. `None` if neither is usable.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        let from_uri = || {
            let uri: AtUri = self.manifest.as_deref()?.parse().ok()?;
            manifest::digest_from_rkey(uri.rkey()?.as_str())
        };
        let stated = || {
            self.manifest_digest
                .clone()
                .filter(|digest| manifest::rkey(digest).is_ok())
        };
        from_uri().or_else(stated)
    }

    /// When the tag was last moved, as far as the record says.
    #[must_use]
    pub fn moved_at(&self) -> Option<&Datetime> {
        self.updated_at.as_ref().or(self.created_at.as_ref())
    }
}

/// The key of a tag: `<repository>_<tag>` with every `/` as `~`.
///
/// # Errors
/// [`SyntaxError`] if repository or tag have characters that neither may have.
pub fn rkey(repository: &str, tag: &str) -> Result<RecordKey, SyntaxError> {
    format!("{}_{}", record_key::escape(repository), record_key::escape(tag)).parse()
}

/// Characters of the hash in a key of [`rkey_beside`].
const NAME_HASH_LEN: usize = 16;

/// Another key for the tag, for when a tag with the same [`rkey`] has that one: `a_b` + `c` and `a` + `b_c` share theirs.
/// Readers that go by keys do not find it; those that compare a listing's fields do.
///
/// # Errors
/// As [`rkey`].
pub fn rkey_beside(repository: &str, tag: &str) -> Result<RecordKey, SyntaxError> {
    let hash = record_key::hash_prefix(&format!("{repository}:{tag}"), NAME_HASH_LEN);
    format!("{}.{hash}", rkey(repository, tag)?).parse()
}

/// What the keys of all tags of `repository` begin with. Keys of other repositories may begin with it too
/// (`app` and `app_x`): compare the record's own `repository`.
#[must_use]
pub fn rkey_prefix(repository: &str) -> String {
    format!("{}_", record_key::escape(repository))
}

/// Repository and tag from a key, split at the last `_`: a guess where the tag itself has one. Prefer the record's own
/// fields.
#[must_use]
pub fn split_rkey(rkey: &RecordKey) -> Option<(String, String)> {
    let (repository, tag) = rkey.as_str().rsplit_once('_')?;
    Some((record_key::unescape(repository), tag.to_owned()))
}
