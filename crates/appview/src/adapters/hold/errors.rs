//! What the answers of holds and stores mean.

use std::time::Duration;

use atcr_atproto::bounds::MAX_RETRY_AFTER;
use atcr_atproto::egress::EgressError;
use atcr_atproto::lexicon::hold_upload::error as name;
use atcr_atproto::pds::PdsError;
use atcr_atproto::retry_after::asked;
use atcr_atproto::xrpc::XrpcError;
use atcr_registry::hold::error::HoldError;
use http::{HeaderMap, StatusCode};

/// What a busy hold is given when it does not say how long.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What is asked of the hold decides what "not there" means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Blob,
    Upload,
    /// Crew, quotas, notices.
    Account,
}

/// Nothing came back.
pub(super) fn transport(error: &EgressError) -> HoldError {
    match error {
        EgressError::Timeout { .. } => HoldError::TimedOut,
        other => HoldError::Unreachable {
            reason: other.reason(),
        },
    }
}

/// The hold answered an XRPC method with an error status.
pub(super) fn xrpc(about: About, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> HoldError {
    let error = XrpcError::from_response(status, body);
    let message = || error.message.clone().unwrap_or_else(|| error.error.clone());
    if error.is(name::QUOTA_EXCEEDED) {
        return HoldError::QuotaExceeded { message: message() };
    }
    match status {
        StatusCode::UNAUTHORIZED => HoldError::Unauthorized,
        StatusCode::FORBIDDEN => HoldError::Forbidden { message: message() },
        StatusCode::TOO_MANY_REQUESTS => HoldError::Busy {
            retry_after: retry_after(headers),
        },
        _ if error.is(name::BLOB_NOT_FOUND) => HoldError::BlobNotFound,
        _ if error.is(name::INVALID_UPLOAD_ID) => HoldError::UploadNotFound,
        _ if error.is(name::INVALID_DIGEST) => HoldError::DigestRefused,
        // Without the name it may be a proxy in front of the hold that does not know the path.
        StatusCode::NOT_FOUND if about == About::Blob => HoldError::BlobNotFound,
        _ => other(status, format!("{} {}", error.error, message())),
    }
}

/// The hold's repository did not give a record.
pub(super) fn record(error: PdsError) -> HoldError {
    match error {
        PdsError::Unreachable { source, .. } => transport(&source),
        PdsError::Timeout { .. } => HoldError::TimedOut,
        PdsError::RateLimited { retry_after, .. } => HoldError::Busy {
            retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
        },
        PdsError::Xrpc(error) => {
            let message = || error.message.clone().unwrap_or_else(|| error.error.clone());
            match error.status {
                StatusCode::UNAUTHORIZED => HoldError::Unauthorized,
                StatusCode::FORBIDDEN => HoldError::Forbidden { message: message() },
                status => other(status, format!("{} {}", error.error, message())),
            }
        }
        PdsError::TooLarge { .. } | PdsError::Malformed { .. } => HoldError::Malformed {
            what: "a record that can be read",
        },
    }
}

/// The store answered a signed URL with an error status.
pub(super) fn store(about: About, status: StatusCode, headers: &HeaderMap) -> HoldError {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => HoldError::UrlRefused,
        StatusCode::NOT_FOUND | StatusCode::GONE => match about {
            About::Blob => HoldError::BlobNotFound,
            About::Upload | About::Account => HoldError::UploadNotFound,
        },
        StatusCode::TOO_MANY_REQUESTS => HoldError::Busy {
            retry_after: retry_after(headers),
        },
        _ => other(status, "its store failed".to_owned()),
    }
}

/// An answer without a meaning of its own. A server that does not know a method will not learn it soon.
fn other(status: StatusCode, message: String) -> HoldError {
    let message = format!("{message} (status {})", status.as_u16());
    if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        HoldError::Failed { message }
    } else {
        HoldError::Refused { message }
    }
}

fn retry_after(headers: &HeaderMap) -> Duration {
    asked(headers, None).map_or(DEFAULT_RETRY_AFTER, |wait| wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(about: About, status: u16, body: &str) -> HoldError {
        xrpc(
            about,
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
        )
    }

    #[test]
    fn names_and_statuses_of_a_hold_become_domain_errors() {
        let quota = r#"{"error":"QuotaExceeded","message":"5 GiB used"}"#;
        assert!(
            matches!(answer(About::Upload, 403, quota), HoldError::QuotaExceeded { message } if message == "5 GiB used")
        );
        assert!(matches!(answer(About::Blob, 401, ""), HoldError::Unauthorized));
        assert!(
            matches!(answer(About::Blob, 403, r#"{"error":"Forbidden","message":"not crew"}"#), HoldError::Forbidden { message } if message == "not crew")
        );
        assert!(matches!(
            answer(About::Blob, 404, "nothing here"),
            HoldError::BlobNotFound
        ));
        assert!(matches!(
            answer(About::Blob, 400, r#"{"error":"BlobNotFound"}"#),
            HoldError::BlobNotFound
        ));
        assert!(matches!(
            answer(About::Upload, 404, r#"{"error":"InvalidUploadId"}"#),
            HoldError::UploadNotFound
        ));
        assert!(matches!(
            answer(About::Upload, 404, "no such route"),
            HoldError::Refused { .. }
        ));
        assert!(matches!(
            answer(About::Upload, 400, r#"{"error":"InvalidDigest"}"#),
            HoldError::DigestRefused
        ));
        assert!(matches!(answer(About::Upload, 429, ""), HoldError::Busy { .. }));
        let failed = answer(
            About::Upload,
            500,
            r#"{"error":"CompletionFailed","message":"disk"}"#,
        );
        assert!(failed.is_transient());
        assert!(!answer(About::Upload, 501, "").is_transient());
    }

    #[test]
    fn a_store_that_no_longer_takes_the_url_is_told_from_one_that_lost_the_upload() {
        let headers = HeaderMap::new();
        assert!(matches!(
            store(About::Upload, StatusCode::FORBIDDEN, &headers),
            HoldError::UrlRefused
        ));
        assert!(matches!(
            store(About::Upload, StatusCode::NOT_FOUND, &headers),
            HoldError::UploadNotFound
        ));
        assert!(store(About::Upload, StatusCode::SERVICE_UNAVAILABLE, &headers).is_transient());
    }
}
