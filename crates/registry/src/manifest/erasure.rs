//! Deleting records of an account whatever they are, in the account's one lane, so that index and caches go along.

use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::pds::Write;
use atcr_atproto::syntax::RecordKey;
use atcr_auth::principal::Principal;
use futures_util::FutureExt as _;

use crate::account::{Freshness, Plan};
use crate::error::RegistryError;
use crate::manifest::Manifests;

impl Manifests {
    /// Deletes the records under `keys`, at most as many as one commit takes, from a collection of the account of `owner`, who is
    /// `principal`. All of them are there.
    ///
    /// # Errors
    /// The PDS's; the database's.
    pub async fn erase(
        &self,
        principal: &Principal,
        owner: &ResolvedIdentity,
        collection: &str,
        keys: &[RecordKey],
    ) -> Result<(), RegistryError> {
        let plan = || {
            let mut plan = Plan::default();
            for rkey in keys {
                match collection {
                    nsid::TAG => plan.delete_tag(rkey.clone()),
                    nsid::MANIFEST => plan.delete_manifest(rkey.clone()),
                    _ => plan.writes.push(Write::Delete {
                        collection: collection.to_owned(),
                        rkey: rkey.clone(),
                    }),
                }
            }
            async { Ok(plan) }.boxed()
        };
        self.cache.forget_account(&owner.did);
        let written = self.accounts.write(principal, owner, Freshness::Any, &plan).await;
        // Also after an error: the commit may have been made and only its answer lost.
        self.cache.forget_account(&owner.did);
        written.map(drop)
    }
}
