//! [`ScanSource`] over a hold's own answers and its records' blobs.

use async_trait::async_trait;
use atcr_atproto::egress::EgressError;
use atcr_atproto::lexicon::nsid;
use atcr_oci::Digest;
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::HoldRef;
use atcr_scan_protocol::ScanView;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{Method, StatusCode};
use secrecy::SecretString;
use url::Url;

use super::HoldClient;
use super::errors::{self, About};
use super::xrpc::{below, method_url, read};
use crate::scans::{DocumentPlace, OpenDocument, ScanSource};

#[async_trait]
impl ScanSource for HoldClient {
    async fn view(
        &self,
        hold: &HoldRef,
        token: Option<&SecretString>,
        digest: &Digest,
    ) -> Result<Option<ScanView>, HoldError> {
        let url = below(hold, &["scans", digest.as_str()])?;
        let request = self.request(Method::GET, &url, token)?;
        let answer = self.ask(request, self.timeouts.call).await?;
        match answer.status {
            // Another program, which does not know the path.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(None),
            _ => read(About::Account, &answer).map(Some),
        }
    }

    async fn document(
        &self,
        hold: &HoldRef,
        token: Option<&SecretString>,
        place: &DocumentPlace,
    ) -> Result<OpenDocument, HoldError> {
        let url = match place {
            DocumentPlace::Record(cid) => {
                let mut url = method_url(hold, nsid::SYNC_GET_BLOB)?;
                url.query_pairs_mut()
                    .append_pair("did", hold.did.as_str())
                    .append_pair("cid", &cid.to_string());
                url
            }
            DocumentPlace::Beside { digest, kind, .. } => {
                below(hold, &["scans", digest.as_str(), kind.as_str()])?
            }
        };
        let mut answer = self.open(&url, token).await?;
        if answer.status().is_redirection() {
            // To the hold's store, which gets no token.
            let target = self.redirect_target(&url, answer.headers())?;
            answer = self.open(&target, None).await?;
        }
        let status = answer.status();
        let headers = answer.headers().clone();
        if !status.is_success() {
            return Err(errors::xrpc(About::Blob, status, &headers, &[]));
        }
        let length = answer.content_length();
        let broken = |_| HoldError::Unreachable {
            reason: "the connection broke".to_owned(),
        };
        Ok(OpenDocument {
            length,
            bytes: answer.bytes_stream().map_err(broken).boxed(),
        })
    }
}

impl HoldClient {
    async fn open(&self, url: &Url, token: Option<&SecretString>) -> Result<reqwest::Response, HoldError> {
        let request = self.request(Method::GET, url, token)?;
        let answer = self.egress.open(request, self.timeouts.call).await;
        answer.map_err(|error: EgressError| errors::transport(&error))
    }
}
