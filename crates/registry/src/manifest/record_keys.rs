//! Which record keys a manifest has when several repositories of one account have it.
//!
//! The record at `<hex>` exists while any repository has the manifest, since tags and readers that know only the digest
//! look there; its `repository` is one of them. Each further repository has a record at `<hex>.<hash of the repository>`.
//! When the repository that owns `<hex>` lets go, another one moves there in the same commit.

use atcr_atproto::lexicon::manifest::{self, ManifestRecord};
use atcr_atproto::syntax::{RecordKey, SyntaxError};
use atcr_oci::Digest;

/// The keys under which a repository's record of a manifest may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestKeys {
    /// `<hex>`: shared by the account.
    pub shared: RecordKey,
    /// `<hex>.<hash>`: of this repository alone.
    pub own: RecordKey,
}

impl ManifestKeys {
    /// The keys of `digest` in `repository`.
    ///
    /// # Errors
    /// Never for a [`Digest`], whose form is what the keys demand.
    pub fn new(digest: &Digest, repository: &str) -> Result<Self, SyntaxError> {
        let digest = digest.to_string();
        Ok(Self {
            shared: manifest::rkey(&digest)?,
            own: manifest::rkey_in_repository(&digest, repository)?,
        })
    }
}

/// Where a repository's record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The key to write.
    pub rkey: RecordKey,
    /// Whether a record is there, to be replaced.
    pub exists: bool,
    /// A second record of the same repository, to be deleted: left by a writer that did not know the layout.
    pub surplus: Option<RecordKey>,
}

/// Where the record of `repository` goes, given the records found under both of its keys.
#[must_use]
pub fn place(
    keys: &ManifestKeys,
    repository: &str,
    shared: Option<&ManifestRecord>,
    own: Option<&ManifestRecord>,
) -> Placement {
    let surplus = || own.map(|_| keys.own.clone());
    match shared {
        None => Placement {
            rkey: keys.shared.clone(),
            exists: false,
            surplus: surplus(),
        },
        Some(record) if record.repository == repository => Placement {
            rkey: keys.shared.clone(),
            exists: true,
            surplus: surplus(),
        },
        Some(_) => Placement {
            rkey: keys.own.clone(),
            exists: own.is_some(),
            surplus: None,
        },
    }
}

/// The record by which `repository` has the manifest, of those found under both of its keys.
#[must_use]
pub fn find<'a>(
    repository: &str,
    shared: Option<&'a ManifestRecord>,
    own: Option<&'a ManifestRecord>,
) -> Option<&'a ManifestRecord> {
    [shared, own]
        .into_iter()
        .flatten()
        .find(|record| record.repository == repository)
}

/// What happens to an account's records of one manifest when a repository lets go of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Keys to delete.
    pub delete: Vec<RecordKey>,
    /// A record to write at the shared key, read from this key, which is among those deleted.
    pub move_from: Option<RecordKey>,
}

/// Takes `repository` out of `copies`, the account's records of one manifest as (key, repository).
///
/// `None` when the repository does not have it.
#[must_use]
pub fn remove(shared: &RecordKey, repository: &str, copies: &[(RecordKey, String)]) -> Option<Removal> {
    let (mine, others): (Vec<_>, Vec<_>) = copies.iter().partition(|(_, owner)| owner == repository);
    if mine.is_empty() {
        return None;
    }
    let mut removal = Removal::default();
    for (rkey, _) in mine {
        if rkey != shared {
            removal.delete.push(rkey.clone());
            continue;
        }
        match others.iter().min_by_key(|(_, owner)| owner) {
            // The shared key is written, not deleted, and the heir's own key goes.
            Some((heir, _)) => {
                removal.move_from = Some(heir.clone());
                removal.delete.push(heir.clone());
            }
            None => removal.delete.push(shared.clone()),
        }
    }
    Some(removal)
}

#[cfg(test)]
mod tests;
