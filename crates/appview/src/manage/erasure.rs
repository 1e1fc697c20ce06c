//! Deleting everything of ours from an account.

use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::pds::MAX_WRITES;
use atcr_atproto::syntax::Did;
use atcr_registry::error::RegistryError;

use super::Manage;
use super::holds::sailor;

/// The collections that this registry writes: tags before the manifests that they point at.
const COLLECTIONS: [&str; 5] = [
    nsid::TAG,
    nsid::MANIFEST,
    nsid::REPO_PAGE,
    nsid::SAILOR_STAR,
    nsid::SAILOR_PROFILE,
];

/// Records of one collection that are read at once.
const AT_ONCE: usize = 2_000;

/// Records deleted by one request of a person, at most: more of them are deleted by asking again.
const MOST: usize = 20_000;

impl Manage {
    /// Deletes every record in the account of the kinds that this registry writes.
    ///
    /// # Returns
    /// How many there were, and whether that is all of them.
    ///
    /// # Errors
    /// [`AccessError::SessionEnded`](atcr_registry::error::AccessError::SessionEnded); the PDS's. What is gone by then stays gone; repeating it goes on.
    pub async fn delete_records(&self, account: &ResolvedIdentity) -> Result<(usize, bool), RegistryError> {
        let mut deleted = 0;
        for collection in COLLECTIONS {
            loop {
                let keys = self.own.record_keys(account, collection, AT_ONCE).await?;
                if keys.is_empty() {
                    break;
                }
                for lot in keys.chunks(MAX_WRITES) {
                    if deleted + lot.len() > MOST {
                        return Ok((deleted, false));
                    }
                    self.manifests
                        .erase(&sailor(&account.did), account, collection, lot)
                        .await?;
                    deleted += lot.len();
                }
            }
        }
        Ok((deleted, true))
    }

    /// Forgets the deletions of the account that could be undone.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_deletions(&self, did: &Did) -> Result<(), RegistryError> {
        self.deletions.forget_all(did).await
    }
}
