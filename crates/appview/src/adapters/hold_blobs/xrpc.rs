//! The hold's own methods.

use std::time::Duration;

use atcr_atproto::egress::{CappedBody, DEFAULT_BODY_CAP, EgressError, Limits};
use atcr_atproto::lexicon::hold_upload::{
    BlobUrlOutput, CONTENT_PROOF_HEADER, CompleteUploadInput, CompleteUploadOutput,
};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_registry::blob::ports::{HoldError, SignedUrl};
use atcr_registry::hold::ports::HoldRef;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::errors::{self, About};
use super::{HoldBlobs, blob_url, method_url};

impl HoldBlobs {
    /// Calls a procedure with the user's token.
    pub(super) async fn procedure<O: DeserializeOwned>(
        &self,
        hold: &HoldRef,
        nsid: &str,
        token: &SecretString,
        input: &impl Serialize,
        timeout: Duration,
    ) -> Result<O, HoldError> {
        let request = self.post(hold, nsid, token, input)?;
        read(About::Upload, &self.ask(request, timeout).await?)
    }

    /// `completeUpload`, with the proof of content where there is one.
    pub(super) async fn complete(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        proof: Option<&SecretString>,
        input: &CompleteUploadInput,
        timeout: Duration,
    ) -> Result<CompleteUploadOutput, HoldError> {
        let mut request = self.post(hold, nsid::HOLD_COMPLETE_UPLOAD, token, input)?;
        if let Some(proof) = proof {
            request = request.header(CONTENT_PROOF_HEADER, secret_value(proof.expose_secret())?);
        }
        read(About::Upload, &self.ask(request, timeout).await?)
    }

    /// Where a blob can be read.
    pub(super) async fn blob_url(
        &self,
        hold: &HoldRef,
        owner: &Did,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<SignedUrl, HoldError> {
        let mut url = get_blob_url(hold, owner, digest)?;
        url.query_pairs_mut().append_pair("method", "GET");
        let answer = self
            .ask(self.request(Method::GET, &url, token)?, self.timeouts.call)
            .await?;
        if answer.status.is_redirection() {
            // Older holds redirect whether or not a method is named.
            return redirect_target(&url, &answer.headers).map(SignedUrl::new);
        }
        blob_url(&read::<BlobUrlOutput>(About::Blob, &answer)?)
    }

    /// The size of a blob in bytes. A redirect to the store is followed, once and without the token.
    pub(super) async fn head_blob(
        &self,
        hold: &HoldRef,
        owner: &Did,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<u64, HoldError> {
        let url = get_blob_url(hold, owner, digest)?;
        let answer = self
            .ask(self.request(Method::HEAD, &url, token)?, self.timeouts.call)
            .await?;
        if answer.status.is_redirection() {
            let target = redirect_target(&url, &answer.headers)?;
            let answer = self
                .ask(self.request(Method::HEAD, &target, None)?, self.timeouts.call)
                .await?;
            if answer.status != StatusCode::OK {
                return Err(errors::store(About::Blob, answer.status, &answer.headers));
            }
            return content_length(&answer.headers);
        }
        if answer.status != StatusCode::OK {
            return Err(errors::xrpc(
                About::Blob,
                answer.status,
                &answer.headers,
                &answer.bytes,
            ));
        }
        content_length(&answer.headers)
    }

    fn post(
        &self,
        hold: &HoldRef,
        nsid: &str,
        token: &SecretString,
        input: &impl Serialize,
    ) -> Result<RequestBuilder, HoldError> {
        Ok(self
            .request(Method::POST, &method_url(hold, nsid)?, Some(token))?
            .json(input))
    }

    pub(super) fn request(
        &self,
        method: Method,
        url: &Url,
        token: Option<&SecretString>,
    ) -> Result<RequestBuilder, HoldError> {
        let request = self
            .egress
            .request(method, url)
            .map_err(|error| errors::transport(&error))?;
        Ok(match token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    async fn ask(&self, request: RequestBuilder, timeout: Duration) -> Result<CappedBody, HoldError> {
        let limits = Limits {
            max_bytes: DEFAULT_BODY_CAP,
            timeout,
        };
        self.egress
            .send_capped(request, limits)
            .await
            .map_err(|error: EgressError| errors::transport(&error))
    }
}

fn get_blob_url(hold: &HoldRef, owner: &Did, digest: &Digest) -> Result<Url, HoldError> {
    let mut url = method_url(hold, nsid::SYNC_GET_BLOB)?;
    url.query_pairs_mut()
        .append_pair("did", owner.as_str())
        .append_pair("cid", digest.as_ref());
    Ok(url)
}

fn read<O: DeserializeOwned>(about: About, answer: &CappedBody) -> Result<O, HoldError> {
    if !answer.status.is_success() {
        return Err(errors::xrpc(about, answer.status, &answer.headers, &answer.bytes));
    }
    serde_json::from_slice(&answer.bytes).map_err(|_| HoldError::Malformed {
        what: "what its method promises",
    })
}

fn content_length(headers: &HeaderMap) -> Result<u64, HoldError> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    length.ok_or(HoldError::Malformed {
        what: "a Content-Length",
    })
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, HoldError> {
    let location = headers
        .get(header::LOCATION)
        .and_then(|value| from.join(value.to_str().ok()?).ok());
    location
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or(HoldError::Malformed {
            what: "a usable Location",
        })
}

fn secret_value(text: &str) -> Result<HeaderValue, HoldError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| HoldError::Malformed {
        what: "room for the content proof",
    })?;
    value.set_sensitive(true);
    Ok(value)
}
