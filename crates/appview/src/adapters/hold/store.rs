//! The store behind a hold, by signed URL. No request here ever carries a token: the URL is the permission, and S3 refuses a
//! request that brings two.

use std::io;
use std::time::Duration;

use atcr_registry::blob::ports::{BlobDownload, ByteStream, PartBody, PartTarget, SignedUrl};
use atcr_registry::hold::error::HoldError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::Response;

use super::HoldClient;
use super::errors::{self, About};
use super::outgoing::Outgoing;

/// How much of an answer to a part is read, so that the connection can be used again.
const ANSWER_BYTES: usize = 64 * 1024;

impl HoldClient {
    /// Sends a part and reads its entity tag.
    pub(super) async fn put_part(&self, target: &PartTarget, body: PartBody) -> Result<String, HoldError> {
        let headers = part_headers(&target.headers)?;
        let method = Method::from_bytes(target.method.as_bytes()).map_err(|_| HoldError::Malformed {
            what: "a usable method for the part",
        })?;
        let (body, progress) = Outgoing::new(body);
        let request = self
            .request(method, target.url.expose(), None)?
            .headers(headers)
            .body(reqwest::Body::wrap(body));
        let sent = tokio::select! {
            sent = request.send() => sent,
            () = progress.stalled(self.timeouts.idle) => return Err(HoldError::TimedOut),
        };
        let response = match sent {
            Ok(response) => response,
            Err(_) if progress.is_broken() => return Err(HoldError::BodyBroken),
            Err(error) => return Err(transport(error)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        self.read_out(response).await;
        if !status.is_success() {
            return Err(errors::store(About::Upload, status, &headers));
        }
        let etag = headers
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .map(|etag| etag.trim_matches('"'));
        match etag {
            Some(etag) if !etag.is_empty() => Ok(etag.to_owned()),
            _ => Err(HoldError::Malformed {
                what: "an ETag for the part",
            }),
        }
    }

    /// Opens a blob for reading.
    pub(super) async fn open_url(&self, url: &SignedUrl) -> Result<BlobDownload, HoldError> {
        let response = self.begin(self.request(Method::GET, url.expose(), None)?).await?;
        let headers = response.headers();
        if response.status() != StatusCode::OK {
            return Err(errors::store(About::Blob, response.status(), headers));
        }
        let len = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(BlobDownload {
            len,
            bytes: watched(response.bytes_stream(), self.timeouts.idle),
        })
    }

    /// Reads what a store says to a part and forgets it.
    async fn read_out(&self, mut response: Response) {
        let read = async {
            let mut left = ANSWER_BYTES;
            while let Ok(Some(bytes)) = response.chunk().await {
                match left.checked_sub(bytes.len()) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        // A store that never ends its answer has still given its status.
        let _ = tokio::time::timeout(self.timeouts.call, read).await;
    }
}

/// `bytes`, ending in an error when nothing comes for `idle`.
fn watched(bytes: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static, idle: Duration) -> ByteStream {
    Box::pin(stream::unfold(Some(Box::pin(bytes)), move |bytes| async move {
        let mut bytes = bytes?;
        match tokio::time::timeout(idle, bytes.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(bytes))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error.without_url())), None)),
            Ok(None) => None,
            Err(_) => Some((Err(io::Error::from(io::ErrorKind::TimedOut)), None)),
        }
    }))
}

/// The headers that the hold wants with a part, which were checked when it named them.
fn part_headers(wanted: &[(String, String)]) -> Result<HeaderMap, HoldError> {
    let unusable = HoldError::Malformed {
        what: "usable headers for the part",
    };
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(unusable);
        };
        headers.append(name, value);
    }
    Ok(headers)
}

pub(super) fn transport(error: reqwest::Error) -> HoldError {
    errors::transport(&atcr_atproto::egress::EgressError::from_transport(error))
}
