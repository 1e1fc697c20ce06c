//! [`ContentProofs`] with the appview's own key.

use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_auth::appview_token::{AppViewTokenSigner, ContentProof};
use atcr_oci::Digest;
use atcr_registry::upload::ports::ContentProofs;
use secrecy::SecretString;

/// Signs statements about content as this appview.
#[derive(Clone, Debug)]
pub struct SignedContentProofs {
    signer: Arc<AppViewTokenSigner>,
    clock: Arc<dyn Clock>,
}

impl SignedContentProofs {
    /// Signs with `signer`; holds that trust it need not read what they are given.
    #[must_use]
    pub fn new(signer: Arc<AppViewTokenSigner>, clock: Arc<dyn Clock>) -> Self {
        Self { signer, clock }
    }
}

impl ContentProofs for SignedContentProofs {
    fn prove(
        &self,
        hold: &Did,
        user: &Did,
        upload_id: &str,
        digest: &Digest,
        size: u64,
    ) -> Option<SecretString> {
        let content = ContentProof {
            upload_id: upload_id.to_owned(),
            digest: digest.to_string(),
            size,
        };
        let signed = self.signer.sign(hold, user, Some(content), self.clock.now());
        signed
            .inspect_err(|error| tracing::error!(%error, "a content proof cannot be signed"))
            .ok()
    }
}
