//! `ProfileStore` over a PDS's XRPC methods.

use async_trait::async_trait;
use atcr_atproto::identity::ResolvedIdentity;
use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::sailor_profile::{SailorProfileRecord, has_legacy_hold};
use atcr_atproto::pds::{PdsFailure, Write};
use atcr_atproto::syntax::RecordKey;
use atcr_sessions::SessionError;
use atcr_sessions::ports::PdsCredential;
use atcr_sessions::profile::{FoundProfile, ProfileStore};

use super::pds_client::{PdsClients, seen};
use super::pds_records::read;

/// Profiles at PDSes.
#[derive(Clone, Debug)]
pub struct PdsProfiles {
    clients: PdsClients,
}

impl PdsProfiles {
    /// Asks through `clients`.
    #[must_use]
    pub fn new(clients: PdsClients) -> Self {
        Self { clients }
    }
}

#[async_trait]
impl ProfileStore for PdsProfiles {
    async fn find(&self, sailor: &ResolvedIdentity) -> Result<Option<FoundProfile>, SessionError> {
        let client = self.clients.of(sailor)?;
        let rkey = RecordKey::literal_self();
        let call = client.get_record(&sailor.did, SailorProfileRecord::NSID, &rkey);
        let entry = seen("get_record", client.base(), call)
            .await
            .map_err(|error| PdsFailure::at(client.base(), error))?;
        let Some(entry) = entry else { return Ok(None) };
        let is_outdated = has_legacy_hold(&entry.value);
        Ok(read(sailor, entry).map(|located| FoundProfile {
            record: located.record,
            is_outdated,
        }))
    }

    async fn write(&self, credential: &PdsCredential, write: Write) -> Result<(), SessionError> {
        let auth = credential.authorization.as_pds_auth();
        let client = self.clients.at(&credential.pds);
        let call = client.apply_writes(auth, &credential.did, vec![write], None);
        seen("apply_writes", &credential.pds, call)
            .await
            .map(|_| ())
            .map_err(|error| PdsFailure::at(&credential.pds, error).into())
    }
}
