//! Reading request bodies that must fit into memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// How long a client may take for a small body.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// Why a body was not read.
#[derive(Debug)]
pub enum BodyError {
    /// Longer than allowed.
    TooLarge,
    /// It ended early, or took too long.
    Interrupted(Arc<dyn std::error::Error + Send + Sync>),
}

/// The length that `Content-Length` announces in bytes, if there is one.
#[must_use]
pub fn announced(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(http::header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The whole body, if it has at most `limit` bytes; one that is announced as longer is not read at all.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, BodyError> {
    if announced(headers).is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(error)) => Err(BodyError::Interrupted(Arc::from(error))),
        Err(elapsed) => Err(BodyError::Interrupted(Arc::new(elapsed))),
    }
}
