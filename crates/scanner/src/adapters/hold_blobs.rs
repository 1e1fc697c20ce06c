//! A hold's blobs, by `com.atproto.sync.getBlob` and the URLs to which it redirects.

use std::time::Duration;

use atcr_atproto::egress::{EgressClient, EgressError, EgressPolicy};
use atcr_atproto::lexicon::nsid;
use atcr_atproto::store_target::StoreUrl;
use atcr_atproto::syntax::Did;
use atcr_oci::Digest;
use atcr_scan_protocol::SECRET_HEADER;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::{HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::error::ScanError;
use crate::image::source::Pieces;

/// How long a hold or a store may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The longest pause within a blob.
const PAUSE: Duration = Duration::from_mins(1);

/// Redirects of one blob.
const REDIRECTS: usize = 4;

/// A hold, and how it is reached.
#[derive(Clone, Debug)]
pub struct HoldBlobs {
    base: Url,
    /// For the hold itself.
    hold: EgressClient,
    /// For where it redirects to.
    store: EgressClient,
    secret: Option<SecretString>,
}

impl HoldBlobs {
    /// The hold that the operator named: at any address, with the shared secret. Its store may be on the operator's own network only
    /// if the hold is.
    ///
    /// `configured` is the client for hosts of the operator's choice, `egress` the one for hosts that others name.
    ///
    /// # Errors
    /// `Setup` if a client cannot be built.
    pub fn configured(
        base: Url,
        secret: SecretString,
        configured: EgressClient,
        egress: EgressClient,
    ) -> Result<Self, EgressError> {
        let store = if egress.check(&base).is_ok() {
            egress
        } else {
            EgressClient::new(EgressPolicy::of_server(true))?
        };
        Ok(Self {
            base,
            hold: configured,
            store,
            secret: Some(secret),
        })
    }

    /// A hold that a record names.
    #[must_use]
    pub fn named(base: Url, egress: EgressClient) -> Self {
        Self {
            base,
            hold: egress.clone(),
            store: egress,
            secret: None,
        }
    }

    /// Opens the blob with `digest` of an image of `owner`.
    ///
    /// # Errors
    /// `Fetch`.
    pub async fn open(&self, owner: &Did, digest: &Digest) -> Result<Pieces, ScanError> {
        let failed = |why: String| ScanError::Fetch(format!("{digest}: {why}"));
        let mut url = self.base.clone();
        url.set_path(&format!("/xrpc/{}", nsid::SYNC_GET_BLOB));
        url.query_pairs_mut()
            .clear()
            .append_pair("did", owner.as_str())
            .append_pair("cid", digest.as_str());
        let mut client = &self.hold;
        let mut secret = self.secret.as_ref();
        for _ in 0..=REDIRECTS {
            let mut request = client
                .request(Method::GET, &url)
                .map_err(|error| failed(error.to_string()))?;
            if let Some(secret) = secret {
                let mut value = HeaderValue::try_from(secret.expose_secret())
                    .map_err(|_| failed("the shared secret is no header's value".to_owned()))?;
                value.set_sensitive(true);
                request = request.header(SECRET_HEADER, value);
            }
            let response = client
                .open(request, ANSWER)
                .await
                .map_err(|error| failed(error.to_string()))?;
            let status = response.status();
            if status == StatusCode::OK {
                return Ok(pieces(response, digest));
            }
            if !status.is_redirection() {
                return Err(failed(format!(
                    "{} answers {}",
                    url.host_str().unwrap_or_default(),
                    status.as_u16()
                )));
            }
            let location = response.headers().get(header::LOCATION);
            let location = location
                .and_then(|value| value.to_str().ok())
                .ok_or_else(|| failed("a redirect leads nowhere".to_owned()))?;
            let next = url
                .join(location)
                .map_err(|_| failed("a redirect cannot be read".to_owned()))?;
            // The URL is the permission there; the secret is for the hold alone.
            secret = None;
            client = if next.origin() == self.base.origin() {
                &self.hold
            } else {
                &self.store
            };
            client
                .check_redirect(&url, &next)
                .map_err(|error| failed(error.to_string()))?;
            url = StoreUrl::redirect(&url, location, client)
                .map_err(|error| failed(error.to_string()))?
                .into_url();
        }
        Err(failed("too many redirects".to_owned()))
    }
}

fn pieces(response: reqwest::Response, digest: &Digest) -> Pieces {
    let digest = digest.clone();
    stream::unfold(Some(response), move |response| {
        let digest = digest.clone();
        async move {
            let mut response = response?;
            let failed = |why: &str| Some((Err(ScanError::Fetch(format!("{digest}: {why}"))), None));
            match tokio::time::timeout(PAUSE, response.chunk()).await {
                Err(_) => failed("nothing comes any more"),
                Ok(Err(_)) => failed("the connection broke"),
                Ok(Ok(None)) => None,
                Ok(Ok(Some(piece))) => Some((Ok::<Bytes, _>(piece), Some(response))),
            }
        }
    })
    .boxed()
}
