//! The hold's own methods.

use std::time::Duration;

use atcr_atproto::egress::{CappedBody, DEFAULT_BODY_CAP, EgressError, Limits};
use atcr_atproto::lexicon::hold_upload::{
    BlobUrlOutput, CONTENT_PROOF_HEADER, CompleteUploadInput, CompleteUploadOutput, error::BLOB_NOT_FOUND,
};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::store_target::{StoreUrl, TargetError};
use atcr_atproto::xrpc::XrpcError;
use atcr_oci::Digest;
use atcr_registry::blob::ports::{BlobDeletion, Place, SignedUrl};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::HoldRef;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::HoldClient;
use super::errors::{self, About};

impl HoldClient {
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

    /// Calls a procedure with the user's token whose answer says nothing more than that it is done.
    pub(super) async fn tell(
        &self,
        hold: &HoldRef,
        nsid: &str,
        token: &SecretString,
        input: &impl Serialize,
    ) -> Result<(), HoldError> {
        let request = self.post(hold, nsid, token, input)?;
        let answer = self.ask(request, self.timeouts.call).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(errors::xrpc(
            About::Account,
            answer.status,
            &answer.headers,
            &answer.bytes,
        ))
    }

    /// `completeUpload`, with the proof of content where there is one.
    pub(super) async fn complete(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        proof: Option<&SecretString>,
        repository: &str,
        input: &CompleteUploadInput,
        timeout: Duration,
    ) -> Result<CompleteUploadOutput, HoldError> {
        let mut request = self
            .post(hold, nsid::HOLD_COMPLETE_UPLOAD, token, input)?
            .query(&[("repository", repository)]);
        if let Some(proof) = proof {
            request = request.header(CONTENT_PROOF_HEADER, secret_value(proof.expose_secret())?);
        }
        read(About::Upload, &self.ask(request, timeout).await?)
    }

    /// Takes a blob away from a repository, by the hold's own API.
    pub(super) async fn unlink(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        repository: &str,
        digest: &Digest,
    ) -> Result<BlobDeletion, HoldError> {
        let mut url = below(hold, &["repository-blobs", digest.as_str()])?;
        url.query_pairs_mut().append_pair("repository", repository);
        let answer = self
            .ask(
                self.request(Method::DELETE, &url, Some(token))?,
                self.timeouts.call,
            )
            .await?;
        let error = XrpcError::from_response(answer.status, &answer.bytes);
        match answer.status {
            status if status.is_success() => Ok(BlobDeletion::Deleted),
            StatusCode::CONFLICT => Ok(BlobDeletion::InUse {
                message: error.message.unwrap_or(error.error),
            }),
            _ if error.is(BLOB_NOT_FOUND) => Ok(BlobDeletion::Absent),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Ok(BlobDeletion::Unsupported)
            }
            status => Err(errors::xrpc(
                About::Account,
                status,
                &answer.headers,
                &answer.bytes,
            )),
        }
    }

    /// Where a blob can be read, said by a hold that may not have looked whether it is there.
    pub(super) async fn unchecked_url(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<SignedUrl, HoldError> {
        let mut url = get_blob_url(hold, place, digest)?;
        url.query_pairs_mut().append_pair("method", "GET");
        let answer = self
            .ask(self.request(Method::GET, &url, token)?, self.timeouts.call)
            .await?;
        if answer.status.is_redirection() {
            // Older holds redirect whether or not a method is named.
            return self.redirect_target(&url, &answer.headers).map(SignedUrl::new);
        }
        self.signed_url(&read::<BlobUrlOutput>(About::Blob, &answer)?)
    }

    /// Where a blob can be read.
    pub(super) async fn blob_url(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<SignedUrl, HoldError> {
        match self.unchecked_url(hold, place, digest, token).await {
            Ok(signed) => self.checked(hold, place, signed, token).await,
            Err(HoldError::BlobNotFound) => {
                self.looks_first.insert(hold.did.clone(), true);
                Err(HoldError::BlobNotFound)
            }
            Err(error) => Err(error),
        }
    }

    /// Where a redirect of `from` leads, checked.
    pub(super) fn redirect_target(&self, from: &Url, headers: &HeaderMap) -> Result<Url, HoldError> {
        let location = headers
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok());
        let location = location.ok_or(HoldError::Malformed { what: "a Location" })?;
        let target =
            StoreUrl::redirect(from, location, &self.egress).map_err(|error| unusable_url(&error))?;
        Ok(target.into_url())
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

    pub(super) async fn ask(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<CappedBody, HoldError> {
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

pub(super) fn get_blob_url(hold: &HoldRef, place: Place<'_>, digest: &Digest) -> Result<Url, HoldError> {
    let mut url = method_url(hold, nsid::SYNC_GET_BLOB)?;
    url.query_pairs_mut()
        .append_pair("did", place.owner.as_str())
        .append_pair("repository", place.repository)
        .append_pair("cid", digest.as_ref());
    Ok(url)
}

pub(super) fn read<O: DeserializeOwned>(about: About, answer: &CappedBody) -> Result<O, HoldError> {
    if !answer.status.is_success() {
        return Err(errors::xrpc(about, answer.status, &answer.headers, &answer.bytes));
    }
    serde_json::from_slice(&answer.bytes).map_err(|_| HoldError::Malformed {
        what: "what its method promises",
    })
}

fn secret_value(text: &str) -> Result<HeaderValue, HoldError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| HoldError::Malformed {
        what: "room for the content proof",
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The URL of one of the hold's methods.
pub(super) fn method_url(hold: &HoldRef, nsid: &str) -> Result<Url, HoldError> {
    below(hold, &["xrpc", nsid])
}

/// A URL below the hold's endpoint, which may have a path.
pub(super) fn below(hold: &HoldRef, segments: &[&str]) -> Result<Url, HoldError> {
    let mut url = hold.endpoint.clone();
    url.path_segments_mut()
        .map_err(|()| HoldError::Unreachable {
            reason: "its endpoint is no web address".to_owned(),
        })?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

pub(super) fn unusable_url(error: &TargetError) -> HoldError {
    tracing::info!(%error, "a hold named a URL that is not used");
    HoldError::Malformed { what: "a usable URL" }
}
