use std::sync::Arc;

use atcr_oci::{Algorithm, Digest, InvalidDigest, InvalidRepositoryName, RequestError, UploadSessionId};

use super::*;

/// Every error with its status and code; a new variant does not compile until it is in the table of `rendering`, and is to be
/// added here.
fn table() -> Vec<(RegistryError, u16, ErrorCode)> {
    use ErrorCode as Code;
    use RegistryError as Error;
    let text = || "x".to_owned();
    let hold = || "did:web:hold.example".parse().unwrap();
    let did = || "did:plc:abc".parse().unwrap();
    let digest = || Digest::of(Algorithm::Sha256, b"x");
    let session = UploadSessionId::random;
    let wait = Duration::from_secs(7);
    let io = || Arc::new(std::io::Error::other("x"));
    vec![
        (Error::BodyInterrupted { source: io() }, 400, Code::SizeInvalid),
        (Error::SignInRequired, 401, Code::Unauthorized),
        (Error::NotCovered, 401, Code::Unauthorized),
        (Error::SignedOut { reason: text() }, 401, Code::Unauthorized),
        (Error::Denied { reason: text() }, 403, Code::Denied),
        (Error::NoHold, 403, Code::Denied),
        (Error::AccountTooLarge { did: hold() }, 404, Code::ManifestUnknown),
        (
            Error::QuotaExceeded {
                hold: hold(),
                reason: text(),
            },
            403,
            Code::Denied,
        ),
        (
            Error::TooManyRequests { retry_after: wait },
            429,
            Code::TooManyRequests,
        ),
        (
            Error::NameUnknown {
                name: text(),
                reason: text(),
            },
            404,
            Code::NameUnknown,
        ),
        (
            Error::IdentityUnavailable {
                name: text(),
                reason: text(),
                source: io(),
            },
            502,
            Code::Unavailable,
        ),
        (
            Error::ManifestUnknown {
                name: text(),
                reference: text(),
            },
            404,
            Code::ManifestUnknown,
        ),
        (
            Error::ManifestInvalid { reason: text() },
            400,
            Code::ManifestInvalid,
        ),
        (Error::ManifestTooLarge { limit: 1 }, 413, Code::SizeInvalid),
        (
            Error::ManifestBlobUnknown {
                missing: vec![digest()],
            },
            404,
            Code::ManifestBlobUnknown,
        ),
        (
            Error::ManifestReferenced {
                digest: digest(),
                index: digest(),
            },
            405,
            Code::Unsupported,
        ),
        (Error::BlobUnknown { digest: digest() }, 404, Code::BlobUnknown),
        (
            Error::DigestMismatch {
                expected: digest(),
                actual: digest(),
            },
            400,
            Code::DigestInvalid,
        ),
        (
            Error::DigestRefused {
                hold: hold(),
                digest: digest(),
            },
            400,
            Code::DigestInvalid,
        ),
        (Error::SizeInvalid { reason: text() }, 400, Code::SizeInvalid),
        (
            Error::UploadUnknown { session: session() },
            404,
            Code::BlobUploadUnknown,
        ),
        (
            Error::UploadInvalid { reason: text() },
            400,
            Code::BlobUploadInvalid,
        ),
        (Error::UploadBusy, 409, Code::BlobUploadInvalid),
        (
            Error::ChunkOutOfOrder {
                session: session(),
                given: 1,
                received: 0,
            },
            416,
            Code::BlobUploadInvalid,
        ),
        (Error::RangeNotSatisfiable { size: 1 }, 416, Code::SizeInvalid),
        (Error::Unsupported { reason: text() }, 405, Code::Unsupported),
        (
            Error::HoldUnresolvable {
                hold: hold(),
                reason: text(),
            },
            502,
            Code::Unavailable,
        ),
        (
            Error::HoldUnreachable {
                hold: hold(),
                reason: text(),
            },
            502,
            Code::Unavailable,
        ),
        (Error::HoldTimeout { hold: hold() }, 504, Code::Unavailable),
        (
            Error::HoldRateLimited {
                hold: hold(),
                retry_after: wait,
            },
            429,
            Code::TooManyRequests,
        ),
        (
            Error::HoldUnauthorized {
                hold: hold(),
                reason: text(),
            },
            401,
            Code::Unauthorized,
        ),
        (
            Error::HoldForbidden {
                hold: hold(),
                reason: text(),
            },
            403,
            Code::Denied,
        ),
        (
            Error::HoldRefused {
                hold: hold(),
                reason: text(),
            },
            502,
            Code::Unavailable,
        ),
        (
            Error::HoldFailed {
                hold: hold(),
                reason: text(),
            },
            502,
            Code::Unavailable,
        ),
        (Error::PdsMissing { did: did() }, 502, Code::Unavailable),
        (
            Error::PdsUnreachable {
                host: text(),
                reason: text(),
                source: io(),
            },
            502,
            Code::Unavailable,
        ),
        (Error::PdsTimeout { host: text() }, 504, Code::Unavailable),
        (
            Error::PdsRateLimited {
                host: text(),
                retry_after: wait,
            },
            429,
            Code::TooManyRequests,
        ),
        (
            Error::PdsTooLarge {
                host: text(),
                reason: text(),
            },
            413,
            Code::SizeInvalid,
        ),
        (
            Error::PdsFailed {
                host: text(),
                error: text(),
                reason: text(),
            },
            502,
            Code::Unavailable,
        ),
        (
            Error::PdsUnavailable {
                host: text(),
                reason: text(),
            },
            503,
            Code::Unavailable,
        ),
        (Error::session_ended(), 401, Code::Unauthorized),
        (Error::Corrupt { what: text() }, 502, Code::Unavailable),
        (Error::Database(io()), 500, Code::Unknown),
        (Error::Disk(io()), 500, Code::Unknown),
        (Error::Internal { what: text() }, 500, Code::Unknown),
    ]
}

#[test]
fn each_error_has_its_status_and_code() {
    for (error, status, code) in table() {
        let rendering = registry_rendering(&error);
        assert_eq!(
            (rendering.status.as_u16(), rendering.code),
            (status, code),
            "{error:?}"
        );
        assert_eq!(rendering.retry_after.is_some(), status == 429, "{error:?}");
    }
}

async fn body(response: Response) -> serde_json::Value {
    use http_body_util::BodyExt as _;
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn a_fault_of_our_own_is_not_described() {
    let error = EdgeError::from(RegistryError::Internal {
        what: "the secret of the house".to_owned(),
    });
    let answer = body(response(&error, None)).await;
    assert_eq!(answer["errors"][0]["code"], "UNKNOWN");
    assert!(!answer.to_string().contains("secret"));
}

#[tokio::test]
async fn a_401_carries_the_challenge_and_says_what_is_wrong_with_the_token() {
    let challenge = || Some(BearerChallenge::new("https://r.example/auth/token", "r.example"));
    let header = |error: EdgeError| {
        let response = response(&error, challenge());
        response.headers()[http::header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert!(!header(RegistryError::SignInRequired.into()).contains("error="));
    assert!(header(RegistryError::NotCovered.into()).ends_with("error=\"insufficient_scope\""));
    assert!(!header(SessionError::SignInRequired.into()).contains("error="));
    assert!(header(SessionError::rejected("wrong").into()).ends_with("error=\"invalid_token\""));
    let denied = response(&RegistryError::NoHold.into(), challenge());
    assert!(!denied.headers().contains_key(http::header::WWW_AUTHENTICATE));
}

#[tokio::test]
async fn waiting_is_told_in_whole_seconds() {
    let error = EdgeError::from(RegistryError::TooManyRequests {
        retry_after: Duration::from_millis(20),
    });
    assert_eq!(response(&error, None).headers()[http::header::RETRY_AFTER], "1");
    let error = EdgeError::from(RegistryError::TooManyRequests {
        retry_after: Duration::from_secs(90),
    });
    assert_eq!(response(&error, None).headers()[http::header::RETRY_AFTER], "90");
}

#[test]
fn what_keeps_a_caller_from_signing_in_has_a_status() {
    use SessionError as Error;
    let host = || "pds.example".to_owned();
    let reason = || "a reason".to_owned();
    let source = || -> atcr_sessions::error::Source { std::sync::Arc::new(std::io::Error::other("broken")) };
    for (error, status, code) in [
        (Error::SignInRequired, 401, ErrorCode::Unauthorized),
        (Error::rejected("wrong"), 401, ErrorCode::Unauthorized),
        (Error::app_password_session_ended(), 401, ErrorCode::Unauthorized),
        (
            Error::TooManyAttempts {
                retry_after: Duration::from_secs(5),
            },
            429,
            ErrorCode::TooManyRequests,
        ),
        (
            Error::IdentityUnavailable {
                name: host(),
                reason: reason(),
                source: source(),
            },
            502,
            ErrorCode::Unavailable,
        ),
        (
            Error::PdsMissing {
                did: "did:web:alice.example".parse().unwrap(),
            },
            502,
            ErrorCode::Unavailable,
        ),
        (
            Error::PdsUnreachable {
                host: host(),
                reason: reason(),
                source: source(),
            },
            502,
            ErrorCode::Unavailable,
        ),
        (Error::PdsTimeout { host: host() }, 504, ErrorCode::Unavailable),
        (
            Error::PdsRateLimited {
                host: host(),
                retry_after: Duration::from_secs(5),
            },
            429,
            ErrorCode::TooManyRequests,
        ),
        (
            Error::PdsUnavailable {
                host: host(),
                reason: reason(),
            },
            503,
            ErrorCode::Unavailable,
        ),
        (
            Error::PdsFailed {
                host: host(),
                error: "InvalidRequest".to_owned(),
                reason: reason(),
            },
            502,
            ErrorCode::Unavailable,
        ),
        (Error::Database(source()), 500, ErrorCode::Unknown),
        (Error::internal("a fault"), 500, ErrorCode::Unknown),
    ] {
        let rendering = session_rendering(&error);
        assert_eq!(
            (rendering.status.as_u16(), rendering.code),
            (status, code),
            "{error:?}"
        );
        assert_eq!(rendering.retry_after.is_some(), status == 429, "{error:?}");
    }
}

#[test]
fn a_request_that_is_not_of_the_grammar_has_a_status() {
    use ErrorCode as Code;
    let text = || "x".to_owned();
    for (error, status, code) in [
        (
            EdgeError::Request(RequestError::UnknownEndpoint),
            404,
            Code::Unsupported,
        ),
        (
            EdgeError::Request(RequestError::MethodNotAllowed { allow: "GET" }),
            405,
            Code::Unsupported,
        ),
        (
            EdgeError::Request(RequestError::Name(InvalidRepositoryName::Grammar)),
            400,
            Code::NameInvalid,
        ),
        (
            EdgeError::Request(RequestError::Digest(InvalidDigest::Format)),
            400,
            Code::DigestInvalid,
        ),
        (
            EdgeError::HeaderInvalid {
                header: "Range",
                reason: text(),
            },
            400,
            Code::Unsupported,
        ),
        (
            EdgeError::ParameterInvalid {
                parameter: "scope",
                reason: text(),
            },
            400,
            Code::Unsupported,
        ),
        (EdgeError::invalid_token("x"), 401, Code::Unauthorized),
    ] {
        let rendering = rendering(&error);
        assert_eq!(
            (rendering.status.as_u16(), rendering.code),
            (status, code),
            "{error:?}"
        );
    }
}
