//! The XRPC dialect: what went wrong inside becomes an answer. Its status and name are decided in [`super::error_status`].
//!
//! Expected refusals say what the caller can do. Failures of the hold itself say nothing but the request's id, under which
//! the log has the whole story. Every body has that id.

use std::error::Error;

use atcr_atproto::Cid;
use atcr_atproto::xrpc::XrpcErrorBody;
use atcr_hold_pds::RepoError;
use atcr_hold_pds::access::{AccessDenied, AccessError};
use atcr_server::client_places::NoPlace;
use atcr_server::rate_limit::Limited;
use atcr_server::request_log::RequestId;
use atcr_server::retry_after;
use atcr_server::supervise::panic_message;
use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::auth::{AuthError, DPOP_NONCE};
use super::error_status::INTERNAL;
use crate::access_tokens::SessionError;
use crate::adapters::filesystem::SignedUrlError;
use crate::administration::AdministrationError;
use crate::blobs::BlobError;
use crate::crew::JoinError;
use crate::firehose::TooManySubscribers;
use crate::gc::UnlinkError;
use crate::manifests::{InvalidNotice, NoticeError};
use crate::quota::PromotionError;
use crate::repo_blobs::RepoBlobError;
use crate::scanning::{DocumentError, OpenDocumentError, ScanTableError, TooManyScanners};
use crate::user_data::UserDataError;

/// Everything a handler can answer instead of its output.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The parameters or the body are not what the method takes.
    #[error("{message}")]
    InvalidRequest {
        /// What is wrong with them.
        message: String,
    },
    /// The body is larger than the method takes.
    #[error("the body is too large")]
    PayloadTooLarge,
    /// No such method.
    #[error("this hold does not implement the method")]
    MethodNotImplemented,
    /// The method exists, under another HTTP verb.
    #[error("the method is called with another HTTP verb")]
    WrongVerb,
    /// The caller is not known.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The caller is known but not allowed.
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    /// The repository asked for is not the hold's.
    #[error("this hold has one repository, its own")]
    RepoNotFound,
    /// There is no such record.
    #[error("there is no such record")]
    RecordNotFound,
    /// The repository has no such block now.
    #[error("the repository has no block {0} now")]
    BlockNotFound(Cid),
    /// There is no such blob.
    #[error("there is no such blob")]
    BlobNotFound,
    /// A manifest of the repository names the blob.
    #[error("the blob is in use: the manifest {manifest} names it; delete that first")]
    BlobInUse {
        /// Its digest.
        manifest: String,
    },
    /// A blob was not deleted from a repository.
    #[error(transparent)]
    Unlink(#[from] UnlinkError),
    /// The handle is not the hold's.
    #[error("this hold resolves its own name only")]
    HandleNotFound,
    /// The digest is malformed.
    #[error("not a digest; sha256:<64 hex digits> or sha512:<128 hex digits>")]
    InvalidDigest,
    /// Neither `push` nor `pull`.
    #[error("operation must be push or pull")]
    InvalidOperation,
    /// `userDid` is no DID.
    #[error("userDid is not a DID")]
    InvalidUserDid,
    /// The blob service refused or failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// As [`Blob`](Self::Blob), at the end of an upload.
    #[error(transparent)]
    Completion(BlobError),
    /// As [`Blob`](Self::Blob), when an upload is aborted.
    #[error(transparent)]
    Abort(BlobError),
    /// A manifest's notice is malformed.
    #[error(transparent)]
    InvalidNotice(#[from] InvalidNotice),
    /// A manifest's notice was not recorded.
    #[error(transparent)]
    Notice(#[from] NoticeError),
    /// An account could not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A member got no other tier.
    #[error(transparent)]
    Promotion(#[from] PromotionError),
    /// The AppView's token is about another user than the call.
    #[error("the token is about another user than userDid")]
    OtherUser,
    /// What is known of a user could not be told.
    #[error(transparent)]
    UserData(#[from] UserDataError),
    /// Not everything of a user could be erased.
    #[error("not everything could be erased; try again")]
    Erasure(#[source] UserDataError),
    /// A record could not be written by hand.
    #[error(transparent)]
    Administration(#[from] AdministrationError),
    /// A blob of the repository was not stored or found.
    #[error(transparent)]
    RepoBlob(#[from] RepoBlobError),
    /// Not a scanner of this hold.
    #[error("the secret for scanners is missing or wrong")]
    InvalidSecret,
    /// As many scanners as the hold takes are connected.
    #[error(transparent)]
    TooManyScanners(#[from] TooManyScanners),
    /// A document of a scan was not kept.
    #[error(transparent)]
    ScanDocument(#[from] DocumentError),
    /// A document of a scan was not opened.
    #[error(transparent)]
    OpenScanDocument(#[from] OpenDocumentError),
    /// The table of scans failed.
    #[error(transparent)]
    Scans(#[from] ScanTableError),
    /// A signed URL was not served.
    #[error(transparent)]
    SignedUrl(#[from] SignedUrlError),
    /// The repository failed.
    #[error("the repository failed")]
    Repo(#[from] RepoError),
    /// The client asks too often.
    #[error(transparent)]
    TooManyRequests(#[from] Limited),
    /// The method is a WebSocket, and the request does not ask for one.
    #[error("this method is a WebSocket; send the headers of an upgrade (RFC 6455) over HTTP/1.1")]
    NoWebSocket,
    /// As many follow the repository as the hold takes.
    #[error(transparent)]
    TooManySubscribers(#[from] TooManySubscribers),
    /// As many repository exports, or answers with blocks, as the hold does at once, or for one client, are under way.
    #[error("{}; try again in a minute", match .0 {
        NoPlace::InTotal => "too many such answers are under way",
        NoPlace::OfClient => "too many such answers to this address are under way",
        NoPlace::OfNetwork => "too many such answers to this address's network are under way",
    })]
    TooManyExports(NoPlace),
}

impl From<AccessError> for EdgeError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Denied(denied) => Self::Denied(denied),
            AccessError::Records(error) => Self::Repo(error),
        }
    }
}

/// The body of an error: XRPC's two members, and the id under which the log has the request.
#[derive(Debug, Serialize)]
pub(super) struct ErrorBody {
    #[serde(flatten)]
    xrpc: XrpcErrorBody,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// A body with `message`; without one, it says that the hold failed and that its log has the reason.
fn body(name: &str, message: Option<String>) -> Json<ErrorBody> {
    let request_id = RequestId::current().map(|id| id.to_string());
    let message = message.unwrap_or_else(|| match &request_id {
        Some(id) => format!("the hold could not do this; its log says why under request id {id}"),
        None => "the hold could not do this; its log says why".to_owned(),
    });
    Json(ErrorBody {
        xrpc: XrpcErrorBody {
            error: name.to_owned(),
            message: Some(message),
        },
        request_id,
    })
}

impl IntoResponse for EdgeError {
    fn into_response(self) -> Response {
        let (status, name) = self.wire();
        let cause = chain(&self);
        let is_fault = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        // A client that is told when to come back is told why.
        if is_fault && self.retry_after().is_none() {
            tracing::error!(%status, error = name, cause, "request failed");
            return (status, body(name, None)).into_response();
        }
        tracing::debug!(%status, error = name, cause, "request refused");
        let mut response = (status, body(name, Some(self.to_string()))).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            challenge(&self, headers);
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, retry_after::header_value(wait));
        }
        response
    }
}

/// Says how to come back.
fn challenge(error: &EdgeError, headers: &mut HeaderMap) {
    if let EdgeError::Auth(AuthError::Session(SessionError::NonceNeeded { nonce })) = error
        && let Ok(nonce) = HeaderValue::from_str(nonce)
    {
        headers.insert(DPOP_NONCE, nonce);
        let again = HeaderValue::from_static("DPoP error=\"use_dpop_nonce\"");
        headers.insert(WWW_AUTHENTICATE, again);
        return;
    }
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
}

/// The error and its causes on one line, for the log.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let next = current.to_string();
        // Transparent wrappers repeat their cause.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = current.source();
    }
    text
}

/// The answer of a handler that panicked; what it panicked with is in the log.
pub(crate) fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    tracing::error!(panic = panic_message(panic.as_ref()), "a handler panicked");
    (StatusCode::INTERNAL_SERVER_ERROR, body(INTERNAL, None)).into_response()
}

/// The refusal of a client that asks too often.
pub(crate) fn limited(limited: Limited) -> Response {
    EdgeError::TooManyRequests(limited).into_response()
}

#[cfg(test)]
mod tests;
