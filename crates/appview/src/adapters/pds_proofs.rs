//! The proofs of records, from the account's own server.

use async_trait::async_trait;
use atcr_atproto::identity::{DidDocument, ResolvedIdentity};
use atcr_atproto::pds::{PdsClient, PdsError};
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_oci::MAX_MANIFEST_BYTES;
use atcr_repo::provenance::{Evidence, EvidenceSource, Expected, GatherError, MAX_PROOF_BYTES, gather};
use bytes::Bytes;

use super::pds_client::{PdsClients, seen};
use crate::browse::provenance::{ProofError, ProofSource};

/// Proofs through the clients of PDSes.
#[derive(Clone, Debug)]
pub struct PdsProofs(PdsClients);

impl PdsProofs {
    /// Proofs through `clients`.
    #[must_use]
    pub fn new(clients: PdsClients) -> Self {
        Self(clients)
    }
}

#[async_trait]
impl ProofSource for PdsProofs {
    async fn evidence(
        &self,
        owner: &ResolvedIdentity,
        document: &DidDocument,
        expected: &Expected,
    ) -> Result<Evidence, ProofError> {
        let Some(pds) = &owner.pds else {
            let reason = "the account's DID document names no server (PDS)";
            return Err(ProofError::Unavailable(reason.to_owned()));
        };
        gather(&Seen(self.0.at(pds)), document, expected)
            .await
            .map_err(|error| match error {
                GatherError::Refused(refusal) => refusal.into(),
                GatherError::Source(error) => ProofError::Unavailable(error.to_string()),
            })
    }
}

/// One account's server.
struct Seen(PdsClient);

impl EvidenceSource for Seen {
    type Error = PdsError;

    async fn record_proof(
        &self,
        did: &Did,
        collection: &str,
        rkey: &RecordKey,
    ) -> Result<Option<Bytes>, PdsError> {
        let call = self.0.record_proof(did, collection, rkey, MAX_PROOF_BYTES);
        seen("record_proof", self.0.base(), call).await
    }

    async fn manifest_bytes(&self, did: &Did, cid: &Cid) -> Result<Bytes, PdsError> {
        let call = self.0.get_blob(did, cid, MAX_MANIFEST_BYTES as u64);
        seen("get_blob", self.0.base(), call).await
    }
}
