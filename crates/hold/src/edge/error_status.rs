//! The status and the name on the wire of every error, and how long a caller is asked to wait. Exhaustive.

use std::time::Duration;

use atcr_atproto::identity::IdentityError;
use atcr_atproto::lexicon::{hold_crew, hold_upload, hold_user_data, notify_manifest};
use atcr_hold_pds::RepoError;
use axum::http::StatusCode;

use super::auth::AuthError;
use super::error::EdgeError;
use crate::access_tokens::SessionError;
use crate::adapters::filesystem::{PartError, SignedUrlError};
use crate::administration::AdministrationError;
use crate::blobs::{BlobError, SessionsError, StoreError};
use crate::crew::JoinError;
use crate::gc::UnlinkError;
use crate::manifests::{CountingError, NoticeError};
use crate::quota::PromotionError;
use crate::repo_blobs::RepoBlobError;
use crate::scanning::{DocumentError, OpenDocumentError};
use crate::user_data::UserDataError;

/// Not in the lexicons: 401 for an invalid token. `AuthRequired` is the counterpart without a token.
const INVALID_TOKEN: &str = "InvalidToken";
/// Not in the lexicons: 401 for an expired token; the client must get a new one.
const EXPIRED_TOKEN: &str = "ExpiredToken";
const INVALID_REQUEST: &str = "InvalidRequest";
pub(super) const INTERNAL: &str = "InternalServerError";
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
/// A removal that failed may come to effect for some minutes.
const REMOVAL_WAIT: Duration = Duration::from_mins(1);

impl EdgeError {
    /// The status and the error's name on the wire.
    pub(super) fn wire(&self) -> (StatusCode, &'static str) {
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
            Self::BlobInUse { .. } => (StatusCode::CONFLICT, "BlobInUse"),
            Self::Unlink(UnlinkError::AccountUnread { .. }) => (StatusCode::BAD_GATEWAY, UPSTREAM),
            Self::Unlink(UnlinkError::TooMany) => TOO_MANY,
            Self::Unlink(UnlinkError::Gc(_)) => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
            Self::Unlink(UnlinkError::Blob(error)) => blob(error, INTERNAL),
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
            Self::Notice(NoticeError::QuotaExceeded(_)) => {
                (StatusCode::FORBIDDEN, notify_manifest::error::QUOTA_EXCEEDED)
            }
            Self::OtherUser => (StatusCode::UNAUTHORIZED, hold_crew::error::AUTH_REQUIRED),
            Self::Promotion(PromotionError::NotCrew) => {
                (StatusCode::NOT_FOUND, hold_crew::error::USER_NOT_FOUND)
            }
            Self::Promotion(PromotionError::NoTiers) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
            Self::Notice(NoticeError::Erased) => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::Notice(
                NoticeError::Stopped
                | NoticeError::Counts(_)
                | NoticeError::Observer(_)
                | NoticeError::Erasures(_),
            ) => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
            Self::Join(JoinError::RegistrationDisabled) => {
                (StatusCode::FORBIDDEN, hold_crew::error::REGISTRATION_DISABLED)
            }
            Self::Join(JoinError::TooMany(_)) => TOO_MANY,
            Self::Join(JoinError::NothingToGrant) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
            Self::UserData(error) => user_data(error),
            Self::Erasure(error) => (user_data(error).0, hold_user_data::error::DELETION_FAILED),
            Self::Administration(error) => administration(error),
            Self::RepoBlob(error) => repo_blob(error),
            Self::TooManyRequests(_) | Self::TooManyExports(_) => TOO_MANY,
            Self::TooManySubscribers(_) => (StatusCode::TOO_MANY_REQUESTS, "TooManySubscribers"),
            Self::InvalidSecret => (StatusCode::UNAUTHORIZED, "InvalidSecret"),
            Self::TooManyScanners(_) => TOO_MANY,
            Self::ScanDocument(DocumentError::UnknownJob) => (StatusCode::NOT_FOUND, "UnknownJob"),
            Self::ScanDocument(DocumentError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
            Self::ScanDocument(DocumentError::Malformed) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
            Self::ScanDocument(DocumentError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
            Self::ScanDocument(DocumentError::Blob(RepoBlobError::Busy)) => {
                (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)
            }
            Self::ScanDocument(DocumentError::Blob(error))
            | Self::OpenScanDocument(OpenDocumentError::Blob(error)) => repo_blob(error),
            Self::Scans(_)
            | Self::ScanDocument(DocumentError::Table(_))
            | Self::OpenScanDocument(OpenDocumentError::Table(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
            }
            Self::SignedUrl(error) => signed_url(error),
            Self::Notice(NoticeError::Repo(error)) => written(error),
            Self::Notice(NoticeError::Deferral(_) | NoticeError::Blobs(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
            }
            Self::Repo(error)
            | Self::Join(JoinError::Repo(error))
            | Self::Promotion(PromotionError::Repo(error)) => repo(error),
        }
    }
}

impl EdgeError {
    /// How long the client is asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests(limited)
            | Self::Auth(AuthError::TooManyRequests(limited))
            | Self::Join(JoinError::TooMany(limited)) => Some(limited.retry_after),
            Self::Notice(NoticeError::TooOften(too_often)) => Some(too_often.retry_after),
            Self::Blob(BlobError::StillPromised) => Some(PROMISE_WAIT),
            Self::Blob(BlobError::BeingRemoved) | Self::Completion(BlobError::BeingRemoved) => {
                Some(REMOVAL_WAIT)
            }
            Self::TooManyExports(_)
            | Self::TooManySubscribers(_)
            | Self::TooManyScanners(_)
            | Self::RepoBlob(RepoBlobError::Busy)
            | Self::ScanDocument(DocumentError::Blob(RepoBlobError::Busy))
            | Self::OpenScanDocument(OpenDocumentError::Blob(RepoBlobError::Busy)) => Some(STREAM_WAIT),
            _ => None,
        }
    }
}

fn auth(error: &AuthError) -> (StatusCode, &'static str) {
    use atcr_auth::ServiceTokenError as Token;
    match error {
        AuthError::TooManyRequests(_) => TOO_MANY,
        AuthError::HeaderMissing | AuthError::NoAppView | AuthError::NotForThis => {
            (StatusCode::UNAUTHORIZED, hold_crew::error::AUTH_REQUIRED)
        }
        AuthError::AppView(error) if error.is_transient() => (StatusCode::BAD_GATEWAY, UPSTREAM),
        AuthError::AppView(_) => (StatusCode::UNAUTHORIZED, hold_crew::error::AUTH_REQUIRED),
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
        BlobError::StillPromised | BlobError::BeingRemoved => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
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
        | RepoBlobError::Refused
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

fn user_data(error: &UserDataError) -> (StatusCode, &'static str) {
    match error {
        UserDataError::Repo(error) | UserDataError::Counts(CountingError::Repo(error)) => repo(error),
        UserDataError::Stopped => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        UserDataError::Counts(CountingError::Counts(_)) | UserDataError::Erasures(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
        }
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
        | RepoError::IndexBehind
        | RepoError::Paused { .. } => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        // Where nothing of the caller's is written, each of these is a fault of ours.
        RepoError::Locked { .. }
        | RepoError::OtherDid { .. }
        | RepoError::OtherKey
        | RepoError::Incomplete { .. }
        | RepoError::NoRepository { .. }
        | RepoError::Exists { .. }
        | RepoError::HalfRestored { .. }
        | RepoError::NotRestored { .. }
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
