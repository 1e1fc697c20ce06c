//! Whether a hold has a blob, and how long that is, in every way in which holds say so.
//!
//! Our own hold answers a plain HEAD with the blob's length. Others answer it with the head of a JSON `{url}`, with a redirect to a URL
//! that is signed for GET only, or not at all, and sign URLs without a look. So a length is believed only from the object itself, and
//! a URL only from a hold that is known to look.

use atcr_atproto::lexicon::hold_upload::BlobUrlOutput;
use atcr_oci::{Algorithm, Digest};
use atcr_registry::blob::ports::{Place, SignedUrl};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::HoldRef;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Response;
use secrecy::SecretString;
use url::Url;

use super::HoldClient;
use super::errors::{self, About};
use super::xrpc::get_blob_url;

/// Longest answer that is read of a hold, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;

impl HoldClient {
    /// The length of a blob in bytes.
    pub(super) async fn size_of(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<u64, HoldError> {
        if !self.sizes_by_url.contains_key(&hold.did)
            && let Some(size) = self.size_by_head(hold, place, digest, token).await?
        {
            return Ok(size);
        }
        let size = self.size_by_url(hold, place, digest, token).await;
        if matches!(size, Ok(_) | Err(HoldError::BlobNotFound)) {
            self.sizes_by_url.insert(hold.did.clone(), ());
        }
        size
    }

    /// Asks with a plain HEAD; `None` when the answer says nothing of the object.
    async fn size_by_head(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<u64>, HoldError> {
        let url = get_blob_url(hold, place, digest)?;
        let answer = self
            .ask(self.request(Method::HEAD, &url, token)?, self.timeouts.call)
            .await?;
        match answer.status {
            StatusCode::OK if is_json(&answer.headers) => Ok(None),
            StatusCode::OK => content_length(&answer.headers).map(Some),
            // A refusal of the request as such has no body that would name its error.
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Ok(None)
            }
            status if status.is_redirection() => {
                match self
                    .object_length(&self.redirect_target(&url, &answer.headers)?)
                    .await
                {
                    Ok(length) => Ok(Some(length)),
                    Err(HoldError::UrlRefused) => Ok(None),
                    Err(error) => Err(error),
                }
            }
            status => Err(errors::xrpc(About::Blob, status, &answer.headers, &answer.bytes)),
        }
    }

    /// Asks for a URL that is signed for HEAD and looks there.
    async fn size_by_url(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<u64, HoldError> {
        let mut url = get_blob_url(hold, place, digest)?;
        url.query_pairs_mut().append_pair("method", "HEAD");
        let response = self.begin(self.request(Method::GET, &url, token)?).await?;
        if response.status().is_redirection() {
            return self
                .object_length(&self.redirect_target(&url, response.headers())?)
                .await;
        }
        if response.status() == StatusCode::OK && !is_json(response.headers()) {
            // These are the bytes themselves; the connection ends here.
            return content_length(response.headers());
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.read_answer(response).await?;
        if status != StatusCode::OK {
            return Err(errors::xrpc(About::Blob, status, &headers, &body));
        }
        let output: BlobUrlOutput = serde_json::from_slice(&body).map_err(|_| HoldError::Malformed {
            what: "the URL of a blob",
        })?;
        self.object_length(self.signed_url(&output)?.expose()).await
    }

    /// The URL itself if its object is there, as far as the hold has not looked.
    pub(super) async fn checked(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        signed: SignedUrl,
        token: Option<&SecretString>,
    ) -> Result<SignedUrl, HoldError> {
        if !self.looks(hold, place, token).await {
            self.length_by_range(signed.expose()).await?;
        }
        Ok(signed)
    }

    /// Whether `hold` looks for a blob before it signs a URL, found out by asking for one that cannot exist.
    async fn looks(&self, hold: &HoldRef, place: Place<'_>, token: Option<&SecretString>) -> bool {
        if let Some(looks) = self.looks_first.get(&hold.did) {
            return looks;
        }
        let nothing = Digest::of(Algorithm::Sha256, &rand::random::<[u8; 16]>());
        let looks = match self.unchecked_url(hold, place, &nothing, token).await {
            Err(HoldError::BlobNotFound) => true,
            Ok(_) => false,
            Err(_) => return false,
        };
        self.looks_first.insert(hold.did.clone(), looks);
        looks
    }

    /// The length of the object at a signed URL. One that is signed for GET only is asked for its first byte.
    async fn object_length(&self, url: &Url) -> Result<u64, HoldError> {
        let answer = self
            .ask(self.request(Method::HEAD, url, None)?, self.timeouts.call)
            .await?;
        match answer.status {
            StatusCode::OK => content_length(&answer.headers),
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                self.length_by_range(url).await
            }
            status => Err(errors::store(About::Blob, status, &answer.headers)),
        }
    }

    async fn length_by_range(&self, url: &Url) -> Result<u64, HoldError> {
        let request = self.request(Method::GET, url, None)?.header(RANGE, "bytes=0-0");
        let response = self.begin(request).await?;
        let headers = response.headers();
        match response.status() {
            StatusCode::OK => content_length(headers),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => whole_length(headers),
            status => Err(errors::store(About::Blob, status, headers)),
        }
    }

    /// Reads an answer that is no blob.
    async fn read_answer(&self, mut response: Response) -> Result<Vec<u8>, HoldError> {
        let read = async {
            let mut body = Vec::new();
            while let Some(bytes) = response.chunk().await.map_err(super::store::transport)? {
                if body.len() + bytes.len() > ANSWER_BYTES {
                    return Err(HoldError::Malformed {
                        what: "an answer of at most 64 KiB",
                    });
                }
                body.extend_from_slice(&bytes);
            }
            Ok(body)
        };
        tokio::time::timeout(self.timeouts.call, read)
            .await
            .map_err(|_| HoldError::TimedOut)?
    }

    /// Sends a request whose answer may be a blob, and waits for its head.
    pub(super) async fn begin(&self, request: reqwest::RequestBuilder) -> Result<Response, HoldError> {
        self.egress
            .open(request, self.timeouts.call)
            .await
            .map_err(|error| errors::transport(&error))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("application/json"))
}

fn content_length(headers: &HeaderMap) -> Result<u64, HoldError> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    length.ok_or(HoldError::Malformed {
        what: "a Content-Length",
    })
}

/// What a `Content-Range` says of the whole.
fn whole_length(headers: &HeaderMap) -> Result<u64, HoldError> {
    let length = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok()?.rsplit_once('/')?.1.parse().ok());
    length.ok_or(HoldError::Malformed {
        what: "a Content-Range",
    })
}
