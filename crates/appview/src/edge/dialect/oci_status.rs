//! The OCI dialect's statuses and codes: one exhaustive table.

use std::time::Duration;

use atcr_atproto::pds::PdsFailure;
use atcr_oci::ErrorCode as Code;
use atcr_registry::error::{AccessError, AccountError, BlobError, ManifestError, RegistryError, UploadError};
use atcr_registry::hold::error::HoldError;
use atcr_sessions::SessionError;
use http::StatusCode;

use crate::edge::error::EdgeError;

/// How an error looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendering {
    /// The status.
    pub status: StatusCode,
    /// The code.
    pub code: Code,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Status and code of `error`.
#[must_use]
pub fn rendering(error: &EdgeError) -> Rendering {
    match error {
        EdgeError::Request(error) => plain(
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST),
            error.code(),
        ),
        // The specification has no code for a header or parameter; 400 with the closest one.
        EdgeError::HeaderInvalid { .. } | EdgeError::ParameterInvalid { .. } => {
            plain(StatusCode::BAD_REQUEST, Code::Unsupported)
        }
        EdgeError::InvalidToken { .. } | EdgeError::NotSignedIn { .. } => {
            plain(StatusCode::UNAUTHORIZED, Code::Unauthorized)
        }
        EdgeError::Limited(limited) => too_many(limited.retry_after),
        EdgeError::Registry(error) => registry_rendering(error),
        EdgeError::Session(error) => session_rendering(error),
    }
}

/// Status and code of a use case's `error`.
#[must_use]
pub fn registry_rendering(error: &RegistryError) -> Rendering {
    match error {
        RegistryError::Access(error) => access(error),
        RegistryError::Account(error) => account(error),
        RegistryError::Manifest(error) => manifest(error),
        RegistryError::Blob(error) => blob(error),
        RegistryError::Upload(error) => upload(error),
        RegistryError::NoHold => plain(StatusCode::FORBIDDEN, Code::Denied),
        RegistryError::Hold { error, .. } => hold(error),
        RegistryError::Pds(failure) => pds(failure),
        RegistryError::Identity(_) | RegistryError::Corrupt { .. } => {
            plain(StatusCode::BAD_GATEWAY, Code::Unavailable)
        }
        RegistryError::BodyInterrupted { .. } => plain(StatusCode::BAD_REQUEST, Code::SizeInvalid),
        RegistryError::Unsupported { .. } => plain(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported),
        RegistryError::TooManyRequests { retry_after } => too_many(*retry_after),
        RegistryError::Database(_) | RegistryError::Disk(_) | RegistryError::Internal { .. } => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown)
        }
    }
}

/// Status and code of a sign-in's `error`.
#[must_use]
pub fn session_rendering(error: &SessionError) -> Rendering {
    match error {
        SessionError::SignInRequired | SessionError::Rejected { .. } | SessionError::Ended { .. } => {
            plain(StatusCode::UNAUTHORIZED, Code::Unauthorized)
        }
        SessionError::TooManyAttempts { retry_after } => too_many(*retry_after),
        SessionError::Identity(_) => plain(StatusCode::BAD_GATEWAY, Code::Unavailable),
        SessionError::Pds(failure) => pds(failure),
        SessionError::Database(_) | SessionError::Internal { .. } => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown)
        }
    }
}

fn access(error: &AccessError) -> Rendering {
    match error {
        AccessError::SignInRequired
        | AccessError::NotCovered
        | AccessError::SignedOut { .. }
        | AccessError::SessionEnded { .. } => plain(StatusCode::UNAUTHORIZED, Code::Unauthorized),
        AccessError::Denied { .. } => plain(StatusCode::FORBIDDEN, Code::Denied),
        AccessError::TakenDown { .. } => plain(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, Code::Denied),
    }
}

fn account(error: &AccountError) -> Rendering {
    match error {
        AccountError::NameUnknown { .. } => plain(StatusCode::NOT_FOUND, Code::NameUnknown),
        AccountError::TooLarge { .. } => plain(StatusCode::NOT_FOUND, Code::ManifestUnknown),
        AccountError::RolledBack { .. } => plain(StatusCode::BAD_GATEWAY, Code::Unavailable),
    }
}

fn manifest(error: &ManifestError) -> Rendering {
    match error {
        // Clients look for the code of a manifest also where the repository is missing.
        ManifestError::Unknown { .. } | ManifestError::NoRepository { .. } => {
            plain(StatusCode::NOT_FOUND, Code::ManifestUnknown)
        }
        ManifestError::Invalid { .. } => plain(StatusCode::BAD_REQUEST, Code::ManifestInvalid),
        ManifestError::TooLarge { .. } => plain(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
        ManifestError::BlobUnknown { .. } => plain(StatusCode::NOT_FOUND, Code::ManifestBlobUnknown),
        // The specification lets a registry refuse a deletion with 405 and nothing else; the sentence says what to do.
        ManifestError::Referenced { .. } => plain(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported),
    }
}

fn blob(error: &BlobError) -> Rendering {
    match error {
        BlobError::Unknown { .. } => plain(StatusCode::NOT_FOUND, Code::BlobUnknown),
        // As other registries answer it; the specification has 405 for deletions that are refused.
        BlobError::InUse { .. } => plain(StatusCode::METHOD_NOT_ALLOWED, Code::Denied),
        BlobError::DigestMismatch { .. } | BlobError::DigestRefused { .. } => {
            plain(StatusCode::BAD_REQUEST, Code::DigestInvalid)
        }
        BlobError::SizeInvalid { .. } => plain(StatusCode::BAD_REQUEST, Code::SizeInvalid),
    }
}

fn upload(error: &UploadError) -> Rendering {
    match error {
        UploadError::Unknown { .. } => plain(StatusCode::NOT_FOUND, Code::BlobUploadUnknown),
        UploadError::Invalid { .. } => plain(StatusCode::BAD_REQUEST, Code::BlobUploadInvalid),
        UploadError::Busy => plain(StatusCode::CONFLICT, Code::BlobUploadInvalid),
        UploadError::ChunkOutOfOrder { .. } => {
            plain(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid)
        }
        UploadError::TooMany { retry_after, .. } | UploadError::SpoolQuota { retry_after, .. } => {
            too_many(*retry_after)
        }
        UploadError::SpoolFull { retry_after } => Rendering {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: Code::Unavailable,
            retry_after: Some(*retry_after),
        },
    }
}

fn hold(error: &HoldError) -> Rendering {
    match error {
        HoldError::Unauthorized => plain(StatusCode::UNAUTHORIZED, Code::Unauthorized),
        HoldError::Forbidden { .. } | HoldError::QuotaExceeded { .. } => {
            plain(StatusCode::FORBIDDEN, Code::Denied)
        }
        HoldError::Busy { retry_after } => too_many(*retry_after),
        HoldError::TimedOut => plain(StatusCode::GATEWAY_TIMEOUT, Code::Unavailable),
        // Where one of these means that the client's blob or upload is not there, the use case has said so.
        HoldError::BlobNotFound | HoldError::UploadNotFound | HoldError::DigestRefused => {
            plain(StatusCode::BAD_GATEWAY, Code::Unavailable)
        }
        HoldError::Unresolvable { .. }
        | HoldError::Unreachable { .. }
        | HoldError::UrlRefused
        | HoldError::Refused { .. }
        | HoldError::Failed { .. }
        | HoldError::Malformed { .. } => plain(StatusCode::BAD_GATEWAY, Code::Unavailable),
        HoldError::BodyBroken => plain(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown),
    }
}

fn pds(failure: &PdsFailure) -> Rendering {
    match failure {
        PdsFailure::Missing { .. }
        | PdsFailure::Unreachable { .. }
        | PdsFailure::Malformed { .. }
        | PdsFailure::Failed { .. } => plain(StatusCode::BAD_GATEWAY, Code::Unavailable),
        PdsFailure::Timeout { .. } => plain(StatusCode::GATEWAY_TIMEOUT, Code::Unavailable),
        PdsFailure::Unavailable { .. } => plain(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        PdsFailure::RateLimited { retry_after, .. } => too_many(*retry_after),
        // What a PDS takes is its owner's to say; the client sees the same limit a registry may have.
        PdsFailure::TooLarge { .. } => plain(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
    }
}

fn plain(status: StatusCode, code: Code) -> Rendering {
    Rendering {
        status,
        code,
        retry_after: None,
    }
}

fn too_many(retry_after: Duration) -> Rendering {
    Rendering {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: Code::TooManyRequests,
        retry_after: Some(retry_after),
    }
}

#[cfg(test)]
mod tests;
