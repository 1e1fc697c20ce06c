//! The account's document and the evidence of an image, from the hosts that the account names.

use std::sync::Arc;

use atcr_atproto::bounds::ANSWER_TIMEOUT;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::identity::{
    IdentityError, IdentityResolver as _, ResolvedIdentity, Resolver, ResolverConfig,
};
use atcr_atproto::pds::{PdsClient, PdsError};
use atcr_atproto::plc::PlcDirectory;
use atcr_atproto::syntax::{AtIdentifier, Cid, Did, RecordKey};
use atcr_oci::MAX_MANIFEST_BYTES;
use atcr_repo::provenance::{Evidence, EvidenceSource, Expected, MAX_PROOF_BYTES, gather};
use bytes::Bytes;
use clap::Args;
use url::Url;

use super::{Unchecked, Unproven};

/// Where identities are looked up.
#[derive(Clone, Debug, Args)]
pub struct NetworkArguments {
    /// The directory of did:plc documents
    #[arg(long, value_name = "URL", default_value = "https://plc.directory")]
    pub plc_directory_url: Url,
    /// A service that knows handles, asked before DNS
    #[arg(long, value_name = "URL")]
    pub handle_resolver_url: Option<Url>,
    /// Development: hosts of this machine and of private networks, over plain HTTP too
    #[arg(long)]
    pub local: bool,
}

/// The guarded client, and what looks up identities with it.
pub struct Network {
    /// The client for hosts that others name.
    pub egress: EgressClient,
    resolver: Resolver,
    directory: Url,
    /// The user named who knows handles.
    has_own_resolver: bool,
}

impl Network {
    /// A network as the arguments say. No host is asked yet.
    ///
    /// # Errors
    /// [`Unchecked::Egress`] without usable root certificates.
    pub fn new(arguments: &NetworkArguments) -> Result<Self, Unchecked> {
        let egress = EgressClient::new(EgressPolicy::of_server(arguments.local))?;
        let mut settings = ResolverConfig::new(arguments.plc_directory_url.clone());
        settings
            .handle_resolver
            .clone_from(&arguments.handle_resolver_url);
        settings.allow_loopback = arguments.local;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self {
            has_own_resolver: arguments.handle_resolver_url.is_some(),
            resolver: Resolver::new(settings, egress.clone(), clock)?,
            directory: arguments.plc_directory_url.clone(),
            egress,
        })
    }

    /// Who `identity` is.
    ///
    /// # Errors
    /// [`Unproven::Refused`] if there is no such account. A handle that DNS does not know may be of a network with a resolver of its own,
    /// so it is [`Unchecked`] unless the user named the resolver.
    pub async fn account(&self, identity: &AtIdentifier) -> Result<Arc<ResolvedIdentity>, Unproven> {
        let unresolved = |error| unresolved(error, self.has_own_resolver);
        self.resolver.resolve(identity).await.map_err(unresolved)
    }

    /// The evidence for an image of `account`, from its own server.
    ///
    /// # Errors
    /// [`Unproven`]
    pub async fn evidence(
        &self,
        account: &ResolvedIdentity,
        expected: &Expected,
    ) -> Result<Evidence, Unproven> {
        let pds = account
            .pds
            .clone()
            .ok_or_else(|| Unchecked::NoPds(account.did.clone()))?;
        let source = PdsSource(PdsClient::new(pds, self.egress.clone()));
        Ok(gather(&source, &account.document, expected).await?)
    }

    /// The operations that prove the account's key, as text; `None` for a DID of another method, and where the directory does not give them.
    pub async fn operations(&self, did: &Did) -> Option<Bytes> {
        if did.method() != "plc" {
            return None;
        }
        let directory = PlcDirectory::new(self.directory.clone()).ok()?;
        directory.audit_log(did).await.ok()
    }
}

/// What an identity that was not resolved says about an image.
fn unresolved(error: IdentityError, has_own_resolver: bool) -> Unproven {
    match error {
        IdentityError::HandleNotFound { handle } if !has_own_resolver => {
            Unchecked::HandleNotKnown(handle).into()
        }
        error => error.into(),
    }
}

/// An account's server.
struct PdsSource(PdsClient);

impl EvidenceSource for PdsSource {
    type Error = PdsError;

    async fn record_proof(
        &self,
        did: &Did,
        collection: &str,
        rkey: &RecordKey,
    ) -> Result<Option<Bytes>, PdsError> {
        self.0.record_proof(did, collection, rkey, MAX_PROOF_BYTES).await
    }

    /// Not hashed here: bytes that differ are a refusal, and no fault of the server.
    async fn manifest_bytes(&self, did: &Did, cid: &Cid) -> Result<Bytes, PdsError> {
        let read = async {
            let mut stream = self
                .0
                .get_blob_stream(did, cid, MAX_MANIFEST_BYTES as u64)
                .await?;
            let mut bytes = Vec::new();
            while let Some(piece) = stream.chunk().await? {
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.into())
        };
        let host = || self.0.base().host_str().unwrap_or_default().to_owned();
        let in_time = tokio::time::timeout(ANSWER_TIMEOUT, read).await;
        in_time.unwrap_or_else(|_| Err(PdsError::Timeout { host: host() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verification::Refused;

    #[test]
    fn a_handle_that_dns_does_not_know_is_no_refusal() {
        let unknown = || IdentityError::HandleNotFound {
            handle: "alice.test".parse().unwrap(),
        };
        assert!(matches!(
            unresolved(unknown(), false),
            Unproven::Unchecked(Unchecked::HandleNotKnown(_))
        ));
        // Of a network whose resolver was named, it is.
        assert!(matches!(
            unresolved(unknown(), true),
            Unproven::Refused(Refused::Identity(_))
        ));
        let gone = IdentityError::DidNotFound {
            did: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
        };
        assert!(matches!(
            unresolved(gone, false),
            Unproven::Refused(Refused::Identity(_))
        ));
    }
}
