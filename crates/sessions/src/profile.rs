//! The sailor's profile: made at the first sign-in, so that pushes have a hold.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::clock::Clock;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::sailor_profile::SailorProfileRecord;
use atcr_atproto::pds::Write;
use atcr_atproto::syntax::{Did, RecordKey};

use crate::error::SessionError;
use crate::ports::PdsCredential;

/// A sailor's profile as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundProfile {
    /// The settings.
    pub record: SailorProfileRecord,
    /// The stored record names its hold by URL, as was once done; written back it names the DID.
    pub is_outdated: bool,
}

/// Profiles at their accounts' servers.
#[async_trait]
pub trait ProfileStore: Send + Sync {
    /// The profile of `sailor`; a record that is not of its form counts as none.
    ///
    /// # Errors
    /// The server's.
    async fn find(&self, sailor: &ResolvedIdentity) -> Result<Option<FoundProfile>, SessionError>;

    /// Makes `write` in the repository of `credential`'s account.
    ///
    /// # Errors
    /// The server's.
    async fn write(&self, credential: &PdsCredential, write: Write) -> Result<(), SessionError>;
}

/// Makes profiles.
pub struct Profiles {
    store: Arc<dyn ProfileStore>,
    clock: Arc<dyn Clock>,
    default_hold: Option<Did>,
}

impl Profiles {
    /// New profiles name `default_hold`.
    #[must_use]
    pub fn new(store: Arc<dyn ProfileStore>, clock: Arc<dyn Clock>, default_hold: Option<Did>) -> Self {
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
    pub async fn ensure(&self, credential: &PdsCredential, sailor: &ResolvedIdentity) -> bool {
        let written = self.try_ensure(credential, sailor).await;
        if let Err(error) = &written {
            tracing::warn!(did = %sailor.did, %error, "no profile was written");
        }
        written.is_ok()
    }

    async fn try_ensure(
        &self,
        credential: &PdsCredential,
        sailor: &ResolvedIdentity,
    ) -> Result<(), SessionError> {
        let (collection, rkey) = (SailorProfileRecord::NSID.to_owned(), RecordKey::literal_self());
        let value = |profile: &SailorProfileRecord| {
            profile
                .to_value()
                .map_err(|error| SessionError::internal(error.to_string()))
        };
        let write = match self.store.find(sailor).await? {
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
        self.store.write(credential, write).await?;
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
