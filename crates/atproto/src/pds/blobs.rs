//! Blobs: upload, download.

use std::time::Duration;

use atrium_api::com::atproto::sync::get_blob;
use bytes::Bytes;
use http::{Method, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{PdsAuth, PdsClient, PdsError};
use crate::bounds::{FREE_ANSWER_BYTES, MAX_ERROR_BYTES};
use crate::data_model;
use crate::egress::answer::PaceWatch;
use crate::egress::{EgressError, SharePermit};
use crate::lexicon::{BlobRef, nsid};
use crate::syntax::{Cid, Did};

/// A blob up to this length takes no part of the memory for answers.
const FREE_BYTES: u64 = FREE_ANSWER_BYTES as u64;

#[derive(Deserialize)]
struct UploadedJson {
    blob: BlobRef,
}

/// A blob that is being downloaded: its bytes are **not** checked against its CID. Dropping it closes the connection.
pub struct BlobStream {
    response: reqwest::Response,
    host: String,
    left: u64,
    limit: u64,
    stall_timeout: Duration,
}

impl BlobStream {
    /// The length in bytes, if the server announced it.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `Timeout` if the server stalls for longer than the client's time limit, `TooLarge` beyond the caller's limit,
    /// `Unreachable` if the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, PdsError> {
        let next = tokio::time::timeout(self.stall_timeout, self.response.chunk()).await;
        let next = next.map_err(|_| PdsError::Timeout {
            host: self.host.clone(),
        })?;
        let Some(bytes) =
            next.map_err(|error| PdsError::from_egress(EgressError::from_transport(error), &self.host))?
        else {
            return Ok(None);
        };
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(len).ok_or_else(|| PdsError::TooLarge {
            host: self.host.clone(),
            limit: self.limit,
        })?;
        Ok(Some(bytes))
    }
}

impl PdsClient {
    /// Uploads a blob. It stays only if a record refers to it soon.
    ///
    /// # Errors
    /// `Xrpc` with status 413 (`PayloadTooLarge` from the reference PDS) if it is beyond the server's limit; `Malformed` if
    /// the server stored different bytes from those it was sent.
    ///
    /// # Cancel safety
    /// Safe: a blob that nothing refers to is collected by the server.
    pub async fn upload_blob(
        &self,
        auth: PdsAuth<'_>,
        bytes: Bytes,
        mime_type: &str,
    ) -> Result<BlobRef, PdsError> {
        let expected = data_model::cid_of(data_model::RAW, &bytes);
        let request = self
            .request(Method::POST, nsid::REPO_UPLOAD_BLOB, auth)?
            .header(header::CONTENT_TYPE, mime_type)
            .body(bytes);
        let output: UploadedJson = self.decode(&self.send(request, auth).await?)?;
        if output.blob.cid == expected {
            Ok(output.blob)
        } else {
            Err(self.malformed("blob CID"))
        }
    }

    /// The bytes of a blob, known to hash to `cid`.
    ///
    /// # Errors
    /// `Xrpc` (`BlobNotFound` and others) if the server does not have it; `TooLarge` beyond `max` bytes; `Malformed` if
    /// the bytes are not those of `cid`, or `cid` is not SHA-256.
    pub async fn get_blob(&self, did: &Did, cid: &Cid, max: u64) -> Result<Bytes, PdsError> {
        if cid.hash().code() != data_model::SHA2_256 {
            return Err(self.malformed("blob CID"));
        }
        let read = async {
            let mut stream = self.get_blob_stream(did, cid, max).await?;
            let announced = stream.content_length();
            let longest = announced.unwrap_or(max).min(max);
            let _held = if longest > FREE_BYTES {
                Some(self.reserve(longest).await?)
            } else {
                None
            };
            let watch = PaceWatch::start(self.egress.pace());
            let mut bytes = Vec::new();
            if announced.is_some() {
                bytes.reserve_exact(usize::try_from(longest).unwrap_or(0));
            }
            let mut hasher = Sha256::new();
            loop {
                let next = tokio::time::timeout_at(watch.deadline(bytes.len() as u64), stream.chunk()).await;
                let slow = |_| PdsError::Timeout { host: self.host() };
                let Some(chunk) = next.map_err(slow)?? else {
                    break;
                };
                hasher.update(&chunk);
                bytes.extend_from_slice(&chunk);
            }
            if hasher.finalize().as_slice() != cid.hash().digest() {
                return Err(self.malformed("blob: its bytes are not those of its CID"));
            }
            // Kept for long, perhaps: not with the room that it grew into.
            bytes.shrink_to_fit();
            Ok(Bytes::from(bytes))
        };
        tokio::time::timeout(self.timeout, read)
            .await
            .map_err(|_| PdsError::Timeout { host: self.host() })?
    }

    /// Room for a body of `bytes` while it is read.
    async fn reserve(&self, bytes: u64) -> Result<SharePermit, PdsError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let host = self.host();
        match self.egress.memory().read(&host, bytes, self.timeout).await {
            Ok(room) => Ok(room),
            Err(_) => Err(PdsError::Unreachable {
                source: EgressError::Overloaded { host: host.clone() },
                host,
            }),
        }
    }

    /// Opens a blob of at most `max` bytes for reading piece by piece. The caller checks the bytes; the client's time
    /// limit applies to each piece.
    ///
    /// # Errors
    /// As [`get_blob`](Self::get_blob), but for the check of the bytes.
    pub async fn get_blob_stream(&self, did: &Did, cid: &Cid, max: u64) -> Result<BlobStream, PdsError> {
        let parameters = get_blob::ParametersData {
            cid: atrium_api::types::string::Cid::new(*cid),
            did: self.did(did)?,
        };
        let request = self
            .request(Method::GET, nsid::SYNC_GET_BLOB, PdsAuth::None)?
            .query(&parameters);
        let host = self.host();
        let response = self.egress.open(request, self.timeout).await;
        let response = response.map_err(|error| PdsError::from_egress(error, &host))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let limit = if status.is_success() { max } else { MAX_ERROR_BYTES };
        if response.content_length().is_some_and(|length| length > limit) && status.is_success() {
            return Err(PdsError::TooLarge { host, limit });
        }
        let mut stream = BlobStream {
            response,
            host,
            left: limit,
            limit,
            stall_timeout: self.timeout,
        };
        if status.is_success() {
            return Ok(stream);
        }
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = stream.chunk().await {
            body.extend_from_slice(&chunk);
        }
        Err(self
            .refusal(status, &headers, &body)
            .unwrap_or_else(|| self.malformed("status")))
    }
}
