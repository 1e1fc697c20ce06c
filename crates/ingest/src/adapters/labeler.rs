//! The stream of a labeler, at the service that its DID document names.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::egress::EgressClient;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;

use super::socket::WebSocketSource;
use crate::follow::{EventSource, Events, StreamError};

/// `com.atproto.label.subscribeLabels` of one labeler.
#[derive(Clone)]
pub struct LabelerSource {
    labeler: Did,
    identities: Arc<dyn IdentityResolver>,
    egress: EgressClient,
}

impl LabelerSource {
    /// The stream of `labeler`, over `egress`, which is for hosts that others name.
    #[must_use]
    pub fn new(labeler: Did, identities: Arc<dyn IdentityResolver>, egress: EgressClient) -> Self {
        Self {
            labeler,
            identities,
            egress,
        }
    }
}

#[async_trait]
impl EventSource for LabelerSource {
    async fn connect(&self, cursor: Option<i64>) -> Result<Box<dyn Events>, StreamError> {
        let document = self
            .identities
            .resolve_document(&self.labeler)
            .await
            .map_err(|error| StreamError(format!("the labeler has no document: {error}")))?;
        let mut url = document
            .service("atproto_labeler")
            .ok_or_else(|| StreamError("the labeler's document names no #atproto_labeler".to_owned()))?;
        url.set_path("/xrpc/com.atproto.label.subscribeLabels");
        url.set_query(None);
        WebSocketSource::new(url, self.egress.clone())
            .connect(cursor)
            .await
    }
}
