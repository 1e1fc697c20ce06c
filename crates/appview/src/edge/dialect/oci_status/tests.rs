use std::sync::Arc;

use atcr_atproto::identity::{IdentityError, IdentityUnavailable};
use atcr_oci::{Algorithm, Digest, InvalidDigest, InvalidRepositoryName, RequestError, UploadSessionId};

use super::*;

/// Every error with its status and code; a new variant does not compile until it is in the tables of `rendering`, and is to be
/// added here.
fn table() -> Vec<(RegistryError, u16, Code)> {
    let text = || "x".to_owned();
    let did = || "did:plc:abc".parse().unwrap();
    let digest = || Digest::of(Algorithm::Sha256, b"x");
    let io = || Arc::new(std::io::Error::other("x"));
    let mut table = vec![
        (
            RegistryError::BodyInterrupted { source: io() },
            400,
            Code::SizeInvalid,
        ),
        (
            RegistryError::TooManyRequests { retry_after: WAIT },
            429,
            Code::TooManyRequests,
        ),
        (
            RegistryError::Unsupported { reason: text() },
            405,
            Code::Unsupported,
        ),
        (RegistryError::NoHold, 403, Code::Denied),
        (unresolved().into(), 502, Code::Unavailable),
        (RegistryError::Corrupt { what: text() }, 502, Code::Unavailable),
        (RegistryError::Database(io()), 500, Code::Unknown),
        (RegistryError::Disk(io()), 500, Code::Unknown),
        (RegistryError::Internal { what: text() }, 500, Code::Unknown),
    ];
    let access = |error: AccessError, status, code| (error.into(), status, code);
    table.extend([
        access(AccessError::SignInRequired, 401, Code::Unauthorized),
        access(AccessError::NotCovered, 401, Code::Unauthorized),
        access(AccessError::SignedOut { reason: text() }, 401, Code::Unauthorized),
        access(
            AccessError::SessionEnded { sentence: text() },
            401,
            Code::Unauthorized,
        ),
        access(AccessError::Denied { reason: text() }, 403, Code::Denied),
        access(AccessError::TakenDown { name: text() }, 451, Code::Denied),
    ]);
    let account = |error: AccountError, status, code| (error.into(), status, code);
    let (name, reason) = (text(), text());
    table.extend([
        account(AccountError::TooLarge { did: did() }, 404, Code::ManifestUnknown),
        account(AccountError::NameUnknown { name, reason }, 404, Code::NameUnknown),
        account(
            AccountError::RolledBack {
                did: did(),
                rev: text(),
                newest: text(),
            },
            502,
            Code::Unavailable,
        ),
    ]);
    let manifest = |error: ManifestError, status, code| (error.into(), status, code);
    let (name, reference, missing) = (text(), text(), vec![digest()]);
    let (named, index) = (digest(), digest());
    table.extend([
        manifest(
            ManifestError::Unknown { name, reference },
            404,
            Code::ManifestUnknown,
        ),
        manifest(
            ManifestError::Invalid { reason: text() },
            400,
            Code::ManifestInvalid,
        ),
        manifest(ManifestError::TooLarge { limit: 1 }, 413, Code::SizeInvalid),
        manifest(
            ManifestError::BlobUnknown { missing },
            404,
            Code::ManifestBlobUnknown,
        ),
        manifest(
            ManifestError::Referenced { digest: named, index },
            405,
            Code::Unsupported,
        ),
    ]);
    let blob = |error: BlobError, status, code| (error.into(), status, code);
    let (expected, actual) = (digest(), digest());
    table.extend([
        blob(BlobError::Unknown { digest: digest() }, 404, Code::BlobUnknown),
        blob(
            BlobError::DigestMismatch { expected, actual },
            400,
            Code::DigestInvalid,
        ),
        blob(
            BlobError::DigestRefused {
                hold: did(),
                digest: digest(),
            },
            400,
            Code::DigestInvalid,
        ),
        blob(BlobError::SizeInvalid { reason: text() }, 400, Code::SizeInvalid),
    ]);
    table.extend(uploads());
    table.extend(holds());
    table.extend(
        pds_failures()
            .into_iter()
            .map(|(failure, status, code)| (failure.into(), status, code)),
    );
    table
}

const WAIT: Duration = Duration::from_secs(7);

fn uploads() -> Vec<(RegistryError, u16, Code)> {
    let upload = |error: UploadError, status, code| (error.into(), status, code);
    let session = UploadSessionId::random;
    let retry_after = WAIT;
    vec![
        upload(
            UploadError::Unknown { session: session() },
            404,
            Code::BlobUploadUnknown,
        ),
        upload(
            UploadError::Invalid {
                reason: "x".to_owned(),
            },
            400,
            Code::BlobUploadInvalid,
        ),
        upload(UploadError::Busy, 409, Code::BlobUploadInvalid),
        upload(
            UploadError::ChunkOutOfOrder {
                session: session(),
                given: 1,
                received: 0,
            },
            416,
            Code::BlobUploadInvalid,
        ),
        upload(
            UploadError::TooMany { most: 1, retry_after },
            429,
            Code::TooManyRequests,
        ),
        upload(
            UploadError::SpoolQuota {
                limit: 1,
                retry_after,
            },
            429,
            Code::TooManyRequests,
        ),
        upload(UploadError::SpoolFull { retry_after }, 503, Code::Unavailable),
    ]
}

fn holds() -> Vec<(RegistryError, u16, Code)> {
    let text = || "x".to_owned();
    let hold = "did:web:hold.example".parse().unwrap();
    let hold = |error: HoldError, status, code| (error.of(&hold), status, code);
    vec![
        hold(HoldError::Unresolvable { reason: text() }, 502, Code::Unavailable),
        hold(HoldError::Unauthorized, 401, Code::Unauthorized),
        hold(HoldError::Forbidden { message: text() }, 403, Code::Denied),
        hold(HoldError::UrlRefused, 502, Code::Unavailable),
        hold(HoldError::QuotaExceeded { message: text() }, 403, Code::Denied),
        hold(HoldError::BlobNotFound, 502, Code::Unavailable),
        hold(HoldError::UploadNotFound, 502, Code::Unavailable),
        hold(HoldError::DigestRefused, 502, Code::Unavailable),
        hold(HoldError::Busy { retry_after: WAIT }, 429, Code::TooManyRequests),
        hold(HoldError::Refused { message: text() }, 502, Code::Unavailable),
        hold(HoldError::Failed { message: text() }, 502, Code::Unavailable),
        hold(HoldError::Unreachable { reason: text() }, 502, Code::Unavailable),
        hold(HoldError::TimedOut, 504, Code::Unavailable),
        hold(HoldError::Malformed { what: "x" }, 502, Code::Unavailable),
        hold(HoldError::BodyBroken, 500, Code::Unknown),
    ]
}

fn pds_failures() -> Vec<(PdsFailure, u16, Code)> {
    let host = || "pds.example".to_owned();
    let reason = || "a reason".to_owned();
    vec![
        (
            PdsFailure::Missing {
                did: "did:web:alice.example".parse().unwrap(),
            },
            502,
            Code::Unavailable,
        ),
        (
            PdsFailure::Unreachable {
                host: host(),
                reason: reason(),
                source: Arc::new(std::io::Error::other("broken")),
            },
            502,
            Code::Unavailable,
        ),
        (PdsFailure::Timeout { host: host() }, 504, Code::Unavailable),
        (
            PdsFailure::RateLimited {
                host: host(),
                retry_after: WAIT,
            },
            429,
            Code::TooManyRequests,
        ),
        (
            PdsFailure::TooLarge {
                host: host(),
                reason: reason(),
            },
            413,
            Code::SizeInvalid,
        ),
        (
            PdsFailure::Unavailable {
                host: host(),
                reason: reason(),
            },
            503,
            Code::Unavailable,
        ),
        (
            PdsFailure::Malformed {
                host: host(),
                what: "a malformed record".to_owned(),
            },
            502,
            Code::Unavailable,
        ),
        (
            PdsFailure::Failed {
                host: host(),
                error: "InvalidRequest".to_owned(),
                reason: reason(),
            },
            502,
            Code::Unavailable,
        ),
    ]
}

fn unresolved() -> IdentityUnavailable {
    let error = IdentityError::Unreachable {
        subject: "alice.example".to_owned(),
        host: "DNS".to_owned(),
        source: Arc::new(std::io::Error::other("broken")),
    };
    IdentityUnavailable::new("alice.example", error)
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
        let is_passing =
            status == 429 || matches!(error, RegistryError::Upload(UploadError::SpoolFull { .. }));
        assert_eq!(rendering.retry_after.is_some(), is_passing, "{error:?}");
    }
}

#[test]
fn what_keeps_a_caller_from_signing_in_has_a_status() {
    use SessionError as Error;
    let mut table = vec![
        (Error::SignInRequired, 401, Code::Unauthorized),
        (Error::rejected("wrong"), 401, Code::Unauthorized),
        (Error::app_password_session_ended(), 401, Code::Unauthorized),
        (
            Error::TooManyAttempts { retry_after: WAIT },
            429,
            Code::TooManyRequests,
        ),
        (unresolved().into(), 502, Code::Unavailable),
        (
            Error::Database(Arc::new(std::io::Error::other("broken"))),
            500,
            Code::Unknown,
        ),
        (Error::internal("a fault"), 500, Code::Unknown),
    ];
    let failures = pds_failures().into_iter();
    table.extend(failures.map(|(failure, status, code)| (failure.into(), status, code)));
    for (error, status, code) in table {
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
