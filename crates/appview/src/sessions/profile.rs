//! The sailor's profile: made on first sign-in, so that what he pushes has a hold.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::pds::Write;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_auth::principal::Principal;

use crate::registry::error::RegistryError;
use crate::registry::ports::ManifestStore;

/// Makes profiles.
pub struct Profiles {
    store: Arc<dyn ManifestStore>,
    clock: Arc<dyn Clock>,
    default_hold: Option<Did>,
}

impl Profiles {
    /// New profiles name `default_hold`.
    #[must_use]
    pub fn new(store: Arc<dyn ManifestStore>, clock: Arc<dyn Clock>, default_hold: Option<Did>) -> Self {
        Self {
            store,
            clock,
            default_hold,
        }
    }

    /// Makes `sailor`'s profile unless there is one; one that names its hold in the way of old is written anew. A failure is
    /// logged: it never fails a sign-in, and the next sign-in tries again.
    ///
    /// # Returns
    /// Whether there is one now.
    pub async fn ensure(&self, principal: &Principal, sailor: &ResolvedIdentity) -> bool {
        let written = self.try_ensure(principal, sailor).await;
        if let Err(error) = &written {
            tracing::warn!(did = %sailor.did, %error, "no profile was written");
        }
        written.is_ok()
    }

    async fn try_ensure(
        &self,
        principal: &Principal,
        sailor: &ResolvedIdentity,
    ) -> Result<(), RegistryError> {
        let (collection, rkey) = (SailorProfileRecord::NSID.to_owned(), RecordKey::literal_self());
        let value = |profile: &SailorProfileRecord| {
            profile.to_value().map_err(|error| RegistryError::Internal {
                what: error.to_string(),
            })
        };
        let write = match self.store.find_profile(sailor).await? {
            Some(found) if !found.is_outdated => return Ok(()),
            Some(found) => Write::Update {
                collection,
                rkey,
                value: value(&found.record)?,
            },
            None => {
                let profile = SailorProfileRecord::new(self.default_hold.clone(), self.clock.now_datetime());
                Write::Create {
                    collection,
                    rkey: Some(rkey),
                    value: value(&profile)?,
                }
            }
        };
        self.store.commit(principal, vec![write], None).await?;
        tracing::info!(did = %sailor.did, "wrote a profile");
        Ok(())
    }
}

impl std::fmt::Debug for Profiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiles")
            .field("default_hold", &self.default_hold)
            .finish_non_exhaustive()
    }
}
