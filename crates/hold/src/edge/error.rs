//! The XRPC dialect: what went wrong inside becomes a status, an error name and a sentence, here and nowhere else.
//!
//! Expected refusals say what the caller can do. Failures of the hold itself say nothing but the request's id, under which
//! the log has the whole story. Every body has that id.

use std::error::Error;
use std::time::Duration;

use atcr_atproto::Cid;
use atcr_atproto::identity::IdentityError;
use atcr_atproto::lexicon::{hold_crew, hold_upload, notify_manifest};
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
use crate::accounts::SessionError;
use crate::adapters::filesystem::{PartError, SignedUrlError};
use crate::administration::AdministrationError;
use crate::blobs::{BlobError, SessionsError, StoreError};
use crate::crew::JoinError;
use crate::firehose::TooManySubscribers;
use crate::manifests::{InvalidNotice, NoticeError};
use crate::repo_blobs::RepoBlobError;

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
    /// A record could not be written by hand.
    #[error(transparent)]
    Administration(#[from] AdministrationError),
    /// A blob of the repository was not stored or found.
    #[error(transparent)]
    RepoBlob(#[from] RepoBlobError),
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
    /// As many repository exports as the hold does at once, or for one client, are under way.
    #[error("{}; try again in a minute", match .0 {
        NoPlace::InTotal => "too many repository exports are under way",
        NoPlace::OfClient => "too many repository exports of this address are under way",
        NoPlace::OfNetwork => "too many repository exports of this address's network are under way",
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

/// Not in the lexicons: 401 for an invalid token. `AuthRequired` is the counterpart without a token.
const INVALID_TOKEN: &str = "InvalidToken";
/// Not in the lexicons: 401 for an expired token; the client must get a new one.
const EXPIRED_TOKEN: &str = "ExpiredToken";
const INVALID_REQUEST: &str = "InvalidRequest";
const INTERNAL: &str = "InternalServerError";
const UPSTREAM: &str = "UpstreamFailure";
const STORE_FULL: &str = "NotEnoughResources";
/// As PDSes spell it: 401 for a proof without the nonce that comes with the answer.
const USE_DPOP_NONCE: &str = "use_dpop_nonce";
const UNAVAILABLE: &str = "ServiceUnavailable";
/// What PDSes call it.
const TOO_MANY: (StatusCode, &str) = (StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded");
/// The wait that a client is asked for when all places for long answers are taken.
const STREAM_WAIT: Duration = Duration::from_mins(1);
/// The same for a promised blob.
const PROMISE_WAIT: Duration = Duration::from_secs(30);

impl EdgeError {
    /// The status and the error's name on the wire.
    fn wire(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest { .. } | Self::InvalidNotice(_) | Self::NoWebSocket => {
                (StatusCode::BAD_REQUEST, INVALID_REQUEST)
            }
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
            Self::MethodNotImplemented => (StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented"),
            Self::WrongVerb => (StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST),
            Self::Auth(error) => auth(error),
            Self::Denied(_) => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::RepoNotFound => (StatusCode::NOT_FOUND, "RepoNotFound"),
            Self::RecordNotFound => (StatusCode::NOT_FOUND, "RecordNotFound"),
            Self::BlockNotFound(_) => (StatusCode::BAD_REQUEST, "BlockNotFound"),
            Self::BlobNotFound => (StatusCode::NOT_FOUND, hold_upload::error::BLOB_NOT_FOUND),
            Self::HandleNotFound => (StatusCode::NOT_FOUND, "HandleNotFound"),
            Self::InvalidDigest => (StatusCode::BAD_REQUEST, hold_upload::error::INVALID_DIGEST),
            Self::InvalidOperation => (StatusCode::BAD_REQUEST, notify_manifest::error::INVALID_OPERATION),
            Self::InvalidUserDid => (StatusCode::BAD_REQUEST, hold_crew::error::INVALID_USER_DID),
            Self::Blob(error) => blob(error, INTERNAL),
            Self::Completion(error) => blob(error, hold_upload::error::COMPLETION_FAILED),
            Self::Abort(error) => blob(error, hold_upload::error::ABORT_FAILED),
            Self::Notice(NoticeError::UserMismatch) => {
                (StatusCode::FORBIDDEN, notify_manifest::error::USER_MISMATCH)
            }
            Self::Notice(NoticeError::TooOften(_)) => TOO_MANY,
            Self::Notice(NoticeError::Stopped | NoticeError::Counts(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)
            }
            Self::Join(JoinError::RegistrationDisabled) => {
                (StatusCode::FORBIDDEN, hold_crew::error::REGISTRATION_DISABLED)
            }
            Self::Join(JoinError::TooMany(_)) => TOO_MANY,
            Self::Join(JoinError::NothingToGrant) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
            Self::Administration(error) => administration(error),
            Self::RepoBlob(error) => repo_blob(error),
            Self::TooManyRequests(_) | Self::TooManyExports(_) => TOO_MANY,
            Self::TooManySubscribers(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManySubscribers"),
            Self::SignedUrl(error) => signed_url(error),
            Self::Notice(NoticeError::Repo(error)) => written(error),
            Self::Notice(NoticeError::Deferral(_) | NoticeError::Blobs(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
            }
            Self::Repo(error) | Self::Join(JoinError::Repo(error)) => repo(error),
        }
    }
}

impl EdgeError {
    /// How long the client is asked to wait.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests(limited)
            | Self::Auth(AuthError::TooManyRequests(limited))
            | Self::Join(JoinError::TooMany(limited)) => Some(limited.retry_after),
            Self::Notice(NoticeError::TooOften(too_often)) => Some(too_often.retry_after),
            Self::Blob(BlobError::StillPromised) => Some(PROMISE_WAIT),
            Self::TooManyExports(_) | Self::TooManySubscribers(_) | Self::RepoBlob(RepoBlobError::Busy) => {
                Some(STREAM_WAIT)
            }
            _ => None,
        }
    }
}

fn auth(error: &AuthError) -> (StatusCode, &'static str) {
    use atcr_auth::ServiceTokenError as Token;
    match error {
        AuthError::TooManyRequests(_) => TOO_MANY,
        AuthError::HeaderMissing => (StatusCode::UNAUTHORIZED, hold_crew::error::AUTH_REQUIRED),
        AuthError::HeaderMalformed
        | AuthError::MethodNotNamed { .. }
        | AuthError::Session(SessionError::WrongProof | SessionError::Refused) => {
            (StatusCode::UNAUTHORIZED, INVALID_TOKEN)
        }
        AuthError::Session(SessionError::NonceNeeded { .. }) => (StatusCode::UNAUTHORIZED, USE_DPOP_NONCE),
        AuthError::Session(SessionError::Unavailable(_)) => (StatusCode::BAD_GATEWAY, UPSTREAM),
        AuthError::Session(SessionError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        // One answer for a host that must not be asked and one that does not answer: which it is, is not the caller's to find out.
        AuthError::ServiceToken(Token::UnresolvedIssuer {
            source: IdentityError::Refused { .. },
            ..
        }) => (StatusCode::BAD_GATEWAY, UPSTREAM),
        AuthError::ServiceToken(error) if error.is_transient() => (StatusCode::BAD_GATEWAY, UPSTREAM),
        AuthError::ServiceToken(Token::Expired) => (StatusCode::UNAUTHORIZED, EXPIRED_TOKEN),
        AuthError::ServiceToken(
            Token::Malformed { .. }
            | Token::UnsupportedAlgorithm
            | Token::InvalidIssuer
            | Token::WrongAudience
            | Token::NotYetValid
            | Token::LivesTooLong
            | Token::WrongMethod { .. }
            | Token::UnresolvedIssuer { .. }
            | Token::NoSigningKey { .. }
            | Token::BadSignature,
        ) => (StatusCode::UNAUTHORIZED, INVALID_TOKEN),
    }
}

/// `failed` is what the method calls a failure of the store.
fn blob(error: &BlobError, failed: &'static str) -> (StatusCode, &'static str) {
    match error {
        BlobError::InvalidIdentifier | BlobError::DigestMismatch { .. } => {
            (StatusCode::BAD_REQUEST, hold_upload::error::INVALID_DIGEST)
        }
        BlobError::InvalidUploadId => (StatusCode::NOT_FOUND, hold_upload::error::INVALID_UPLOAD_ID),
        BlobError::InvalidPartNumber(_) => (StatusCode::BAD_REQUEST, hold_upload::error::INVALID_PART_NUMBER),
        BlobError::MissingParts { .. } => (StatusCode::BAD_REQUEST, hold_upload::error::MISSING_PARTS),
        BlobError::Store(StoreError::Full(_)) => (StatusCode::INSUFFICIENT_STORAGE, STORE_FULL),
        BlobError::Store(StoreError::Unavailable { .. }) => (StatusCode::BAD_GATEWAY, failed),
        // The blob service has made refusals of its own of these.
        BlobError::Store(
            StoreError::UnknownUpload | StoreError::PartMismatch { .. } | StoreError::PartTooSmall,
        )
        | BlobError::Sessions(SessionsError::Database(_) | SessionsError::Corrupt { .. }) => {
            (StatusCode::INTERNAL_SERVER_ERROR, failed)
        }
        BlobError::StillPromised => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        BlobError::Interrupted => (StatusCode::SERVICE_UNAVAILABLE, failed),
    }
}

fn signed_url(error: &SignedUrlError) -> (StatusCode, &'static str) {
    match error {
        SignedUrlError::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
        SignedUrlError::NotFound => (StatusCode::NOT_FOUND, hold_upload::error::BLOB_NOT_FOUND),
        SignedUrlError::BadPartNumber | SignedUrlError::Part(PartError::OutOfOrder { .. }) => {
            (StatusCode::BAD_REQUEST, hold_upload::error::INVALID_PART_NUMBER)
        }
        SignedUrlError::Part(PartError::Sealed | PartError::Superseded) => {
            (StatusCode::CONFLICT, hold_upload::error::UPLOAD_FAILED)
        }
        SignedUrlError::Part(PartError::Body(_)) => {
            (StatusCode::BAD_REQUEST, hold_upload::error::UPLOAD_FAILED)
        }
        SignedUrlError::Part(PartError::Store(StoreError::UnknownUpload)) => {
            (StatusCode::NOT_FOUND, hold_upload::error::INVALID_UPLOAD_ID)
        }
        SignedUrlError::Part(PartError::Store(StoreError::Full(_))) => {
            (StatusCode::INSUFFICIENT_STORAGE, STORE_FULL)
        }
        SignedUrlError::Part(PartError::Store(
            StoreError::PartMismatch { .. } | StoreError::PartTooSmall | StoreError::Unavailable { .. },
        ))
        | SignedUrlError::Disk(_) => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
    }
}

fn repo_blob(error: &RepoBlobError) -> (StatusCode, &'static str) {
    match error {
        RepoBlobError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
        RepoBlobError::InvalidType
        | RepoBlobError::Body(_)
        | RepoBlobError::NotUploaded(_)
        | RepoBlobError::TooManyReferences => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
        RepoBlobError::Busy => TOO_MANY,
        RepoBlobError::Spool(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ) =>
        {
            (StatusCode::INSUFFICIENT_STORAGE, STORE_FULL)
        }
        RepoBlobError::Store(StoreError::Full(_)) => (StatusCode::INSUFFICIENT_STORAGE, STORE_FULL),
        RepoBlobError::Store(StoreError::Unavailable { .. }) => (StatusCode::BAD_GATEWAY, UPSTREAM),
        RepoBlobError::Spool(_)
        | RepoBlobError::Table(_)
        | RepoBlobError::Store(
            StoreError::UnknownUpload | StoreError::PartMismatch { .. } | StoreError::PartTooSmall,
        ) => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
        RepoBlobError::Repo(error) => repo(error),
    }
}

fn administration(error: &AdministrationError) -> (StatusCode, &'static str) {
    match error {
        AdministrationError::NotManaged { .. }
        | AdministrationError::NotCrew(_)
        | AdministrationError::NotKnown { .. }
        | AdministrationError::TooLong { .. } => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
        AdministrationError::Exists { .. } => (StatusCode::CONFLICT, "RecordExists"),
        AdministrationError::Swapped => (StatusCode::CONFLICT, "InvalidSwap"),
        AdministrationError::Blobs(error) => repo_blob(error),
        AdministrationError::Repo(error) => written(error),
    }
}

/// Of a write whose values came from the caller.
fn written(error: &RepoError) -> (StatusCode, &'static str) {
    match error {
        RepoError::InvalidRecord(_)
        | RepoError::OtherType { .. }
        | RepoError::RecordShape(_)
        | RepoError::Syntax(_)
        | RepoError::RecordTooLarge { .. }
        | RepoError::TooManyWrites { .. }
        | RepoError::DuplicatePath { .. } => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
        RepoError::RecordExists { .. } => (StatusCode::CONFLICT, "RecordExists"),
        RepoError::CommitSwapped { .. } | RepoError::RecordSwapped { .. } => {
            (StatusCode::CONFLICT, "InvalidSwap")
        }
        error => repo(error),
    }
}

fn repo(error: &RepoError) -> (StatusCode, &'static str) {
    match error {
        // Nothing was written: the same call may work later.
        RepoError::Closed
        | RepoError::Halted { .. }
        | RepoError::Disk { .. }
        | RepoError::ClockBehind { .. }
        | RepoError::Paused { .. } => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        // Where nothing of the caller's is written, each of these is a fault of ours.
        RepoError::Locked { .. }
        | RepoError::OtherDid { .. }
        | RepoError::OtherKey
        | RepoError::Incomplete { .. }
        | RepoError::NoRepository { .. }
        | RepoError::Exists { .. }
        | RepoError::HalfRestored { .. }
        | RepoError::Import { .. }
        | RepoError::Index(_)
        | RepoError::Corrupt { .. }
        | RepoError::PerhapsWritten(_)
        | RepoError::TooSlow
        | RepoError::InvalidRecord(_)
        | RepoError::OtherType { .. }
        | RepoError::RecordShape(_)
        | RepoError::Syntax(_)
        | RepoError::RecordTooLarge { .. }
        | RepoError::TooManyWrites { .. }
        | RepoError::DuplicatePath { .. }
        | RepoError::RecordExists { .. }
        | RepoError::CommitSwapped { .. }
        | RepoError::RecordSwapped { .. } => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
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
