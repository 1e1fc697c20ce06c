//! A stream at the service that a DID document names.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;

use super::socket::WebSocketSource;
use crate::follow::{EventSource, Events, StreamError};

/// A stream of one account's own server. The document is resolved for each connection, so that a move of the server is followed.
#[derive(Clone)]
pub struct ServiceSource {
    did: Did,
    service: &'static str,
    path: &'static str,
    identities: Arc<dyn IdentityResolver>,
    egress: EgressClient,
}

impl ServiceSource {
    /// `com.atproto.label.subscribeLabels` of `labeler`, over `egress`, which is for hosts that others name.
    #[must_use]
    pub fn labels(labeler: Did, identities: Arc<dyn IdentityResolver>, egress: EgressClient) -> Self {
        Self {
            did: labeler,
            service: "atproto_labeler",
            path: "/xrpc/com.atproto.label.subscribeLabels",
            identities,
            egress,
        }
    }

    /// `com.atproto.sync.subscribeRepos` of the server that has the repository of `did`, over `egress`, which is for hosts that others name.
    #[must_use]
    pub fn firehose(did: Did, identities: Arc<dyn IdentityResolver>, egress: EgressClient) -> Self {
        Self {
            did,
            service: "atproto_pds",
            path: "/xrpc/com.atproto.sync.subscribeRepos",
            identities,
            egress,
        }
    }
}

#[async_trait]
impl EventSource for ServiceSource {
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError> {
        let (did, service) = (&self.did, self.service);
        let document = self
            .identities
            .resolve_document(did)
            .await
            .map_err(|error| StreamError(format!("{did} has no document: {error}")))?;
        let mut url = document
            .service(service)
            .ok_or_else(|| StreamError(format!("the document of {did} names no #{service}")))?;
        url.set_path(self.path);
        url.set_query(None);
        WebSocketSource::new(url, self.egress.clone())
            .connect(cursor)
            .await
    }
}
