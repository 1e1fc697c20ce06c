//! The store behind a hold, by signed URL. No request here ever carries a token: the URL is the permission, and S3 refuses a
//! request that brings two.

use std::io;
use std::time::Duration;

use atcr_registry::blob::ports::{
    BlobDownload, ByteStream, DownloadExtent, HoldError, PartBody, PartTarget, SignedUrl,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::Response;

use super::errors::{self, About};
use super::outgoing::Outgoing;
use super::{HoldBlobs, http_method};

/// How much of an answer to a part is read, so that the connection can be used again.
const ANSWER_BYTES: usize = 64 * 1024;

impl HoldBlobs {
    /// Sends a part and reads its entity tag.
    pub(super) async fn put_part(&self, target: &PartTarget, body: PartBody) -> Result<String, HoldError> {
        let headers = part_headers(&target.headers)?;
        let (body, progress) = Outgoing::new(body);
        let request = self
            .request(http_method(&target.method), target.url.expose(), None)?
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
    pub(super) async fn open_url(
        &self,
        url: &SignedUrl,
        range: Option<&str>,
    ) -> Result<BlobDownload, HoldError> {
        let mut request = self.request(Method::GET, url.expose(), None)?;
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let response = tokio::time::timeout(self.timeouts.call, request.send())
            .await
            .map_err(|_| HoldError::TimedOut)?
            .map_err(transport)?;
        let headers = response.headers();
        let text = |name: HeaderName| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let len = text(CONTENT_LENGTH).and_then(|len| len.parse().ok());
        let extent = match response.status() {
            StatusCode::OK => DownloadExtent::Whole,
            StatusCode::PARTIAL_CONTENT => {
                DownloadExtent::Range(text(CONTENT_RANGE).ok_or(HoldError::Malformed {
                    what: "a Content-Range",
                })?)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let extent = DownloadExtent::Unsatisfiable(text(CONTENT_RANGE));
                return Ok(BlobDownload {
                    extent,
                    len: Some(0),
                    bytes: Box::pin(stream::empty()),
                });
            }
            status => return Err(errors::store(About::Blob, status, headers)),
        };
        Ok(BlobDownload {
            extent,
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

/// The headers that the hold wants with a part. Those that decide where and how the request goes, and for whom, are not its business.
fn part_headers(wanted: &[(String, String)]) -> Result<HeaderMap, HoldError> {
    const OURS: [&str; 6] = [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "transfer-encoding",
    ];
    let unusable = HoldError::Malformed {
        what: "usable headers for the part",
    };
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(unusable);
        };
        if !OURS.contains(&name.as_str()) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

fn transport(error: reqwest::Error) -> HoldError {
    errors::transport(&atcr_atproto::egress::EgressError::from_transport(error))
}
