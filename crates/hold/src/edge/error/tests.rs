use std::io;
use std::time::Duration;

use atcr_atproto::egress::EgressError;
use atcr_atproto::identity::IdentityError;
use atcr_auth::{AppViewTokenError, ServiceTokenError};
use atcr_hold_pds::access::{Action as _, BlobWrite, DenialReason};
use atcr_oci::{Algorithm, Digest};

use super::*;
use crate::adapters::filesystem::PartError;
use crate::blobs::{SessionsError, StoreError};
use crate::manifests::TooOften;
use crate::quota::QuotaExceeded;

fn broken_disk() -> Box<dyn Error + Send + Sync> {
    Box::new(io::Error::other("/var/lib/secret is gone"))
}

fn store_down() -> BlobError {
    BlobError::Store(StoreError::Unavailable {
        action: "stat",
        source: broken_disk(),
    })
}

fn mismatch() -> BlobError {
    BlobError::DigestMismatch {
        claimed: Digest::of(Algorithm::Sha256, b"a"),
        actual: Digest::of(Algorithm::Sha256, b"b"),
    }
}

fn unresolved(source: IdentityError) -> EdgeError {
    let did = "did:plc:7iza6de2dwap2sbkpav7c6c6".parse().unwrap();
    AuthError::ServiceToken(ServiceTokenError::UnresolvedIssuer { did, source }).into()
}

fn session(error: SessionError) -> EdgeError {
    AuthError::from(error).into()
}

/// Every kind of error, and what the wire says.
#[test]
fn each_error_has_its_status_and_name() {
    let did: atcr_atproto::syntax::Did = "did:plc:7iza6de2dwap2sbkpav7c6c6".parse().unwrap();
    let denied = AccessDenied {
        action: BlobWrite::NAME,
        reason: DenialReason::NotCrew,
        required: BlobWrite::REQUIRED,
    };
    let token = |error: ServiceTokenError| EdgeError::from(AuthError::from(error));
    let rows: Vec<(EdgeError, u16, &str)> = vec![
        (
            EdgeError::InvalidRequest {
                message: String::new(),
            },
            400,
            "InvalidRequest",
        ),
        (EdgeError::PayloadTooLarge, 413, "PayloadTooLarge"),
        (EdgeError::MethodNotImplemented, 501, "MethodNotImplemented"),
        (EdgeError::WrongVerb, 405, "InvalidRequest"),
        (AuthError::HeaderMissing.into(), 401, "AuthRequired"),
        (AuthError::HeaderMalformed.into(), 401, "InvalidToken"),
        (token(ServiceTokenError::Expired), 401, "ExpiredToken"),
        (token(ServiceTokenError::BadSignature), 401, "InvalidToken"),
        (token(ServiceTokenError::WrongAudience), 401, "InvalidToken"),
        (
            unresolved(IdentityError::DidNotFound { did: did.clone() }),
            401,
            "InvalidToken",
        ),
        (
            unresolved(IdentityError::Unreachable {
                subject: did.to_string(),
                host: "plc.directory".to_owned(),
                source: std::sync::Arc::new(io::Error::other("down")),
            }),
            502,
            "UpstreamFailure",
        ),
        // As the row above: whether a host exists on a private network is not told.
        (
            unresolved(IdentityError::Refused {
                subject: did.to_string(),
                source: EgressError::AddressRefused {
                    host: "internal.test".to_owned(),
                },
            }),
            502,
            "UpstreamFailure",
        ),
        (
            AuthError::MethodNotNamed {
                method: String::new(),
            }
            .into(),
            401,
            "InvalidToken",
        ),
        (session(SessionError::WrongProof), 401, "InvalidToken"),
        (session(SessionError::Refused), 401, "InvalidToken"),
        (
            session(SessionError::Unavailable(broken_disk())),
            502,
            "UpstreamFailure",
        ),
        (session(SessionError::Busy), 503, "ServiceUnavailable"),
        (denied.into(), 403, "Forbidden"),
        (EdgeError::RepoNotFound, 404, "RepoNotFound"),
        (EdgeError::RecordNotFound, 404, "RecordNotFound"),
        (EdgeError::BlobNotFound, 404, "BlobNotFound"),
        (EdgeError::HandleNotFound, 404, "HandleNotFound"),
        (EdgeError::InvalidDigest, 400, "InvalidDigest"),
        (EdgeError::InvalidOperation, 400, "InvalidOperation"),
        (EdgeError::InvalidUserDid, 400, "InvalidUserDid"),
        (BlobError::InvalidIdentifier.into(), 400, "InvalidDigest"),
        (BlobError::InvalidUploadId.into(), 404, "InvalidUploadId"),
        (BlobError::InvalidPartNumber(0).into(), 400, "InvalidPartNumber"),
        (store_down().into(), 502, "InternalServerError"),
        (
            BlobError::Store(StoreError::Full(broken_disk())).into(),
            507,
            "NotEnoughResources",
        ),
        (
            BlobError::Sessions(SessionsError::Corrupt { column: "digest" }).into(),
            500,
            "InternalServerError",
        ),
        (EdgeError::Completion(mismatch()), 400, "InvalidDigest"),
        (
            EdgeError::Completion(BlobError::MissingParts {
                reason: String::new(),
            }),
            400,
            "MissingParts",
        ),
        (EdgeError::Completion(store_down()), 502, "CompletionFailed"),
        (
            EdgeError::Completion(BlobError::Interrupted),
            503,
            "CompletionFailed",
        ),
        (EdgeError::Abort(store_down()), 502, "AbortFailed"),
        (
            EdgeError::Abort(BlobError::InvalidUploadId),
            404,
            "InvalidUploadId",
        ),
        (NoticeError::UserMismatch.into(), 403, "UserMismatch"),
        (NoticeError::Stopped.into(), 503, "ServiceUnavailable"),
        (
            NoticeError::Repo(RepoError::OtherKey).into(),
            500,
            "InternalServerError",
        ),
        (
            JoinError::RegistrationDisabled.into(),
            403,
            "RegistrationDisabled",
        ),
        (JoinError::NothingToGrant.into(), 400, "InvalidRequest"),
        (
            AdministrationError::TooLong { field: "role" }.into(),
            400,
            "InvalidRequest",
        ),
        (AdministrationError::Swapped.into(), 409, "InvalidSwap"),
        (
            AdministrationError::Exists {
                rkey: "self".parse().unwrap(),
            }
            .into(),
            409,
            "RecordExists",
        ),
        (
            AdministrationError::Repo(RepoError::OtherKey).into(),
            500,
            "InternalServerError",
        ),
        (
            AdministrationError::Repo(RepoError::RecordTooLarge { size: 2, limit: 1 }).into(),
            400,
            "InvalidRequest",
        ),
        (
            EdgeError::Blob(BlobError::StillPromised),
            503,
            "ServiceUnavailable",
        ),
        (
            NoticeError::Repo(RepoError::DuplicatePath { path: String::new() }).into(),
            400,
            "InvalidRequest",
        ),
        (
            NoticeError::TooOften(TooOften {
                retry_after: Duration::ZERO,
            })
            .into(),
            429,
            "RateLimitExceeded",
        ),
        (
            NoticeError::QuotaExceeded(QuotaExceeded {
                current: 1,
                added: 1,
                limit: 1,
            })
            .into(),
            403,
            "QuotaExceeded",
        ),
        (AuthError::NoAppView.into(), 401, "AuthRequired"),
        (AuthError::NotForThis.into(), 401, "AuthRequired"),
        (
            AuthError::AppView(AppViewTokenError::Expired).into(),
            401,
            "AuthRequired",
        ),
        (EdgeError::OtherUser, 401, "AuthRequired"),
        (PromotionError::NotCrew.into(), 404, "UserNotFound"),
        (PromotionError::NoTiers.into(), 400, "InvalidRequest"),
        (UserDataError::Stopped.into(), 503, "ServiceUnavailable"),
        (EdgeError::Erasure(UserDataError::Stopped), 503, "DeletionFailed"),
        (SignedUrlError::Forbidden.into(), 403, "Forbidden"),
        (SignedUrlError::NotFound.into(), 404, "BlobNotFound"),
        (
            SignedUrlError::Part(PartError::Superseded).into(),
            409,
            "UploadFailed",
        ),
        (
            SignedUrlError::Part(PartError::Store(StoreError::Full(broken_disk()))).into(),
            507,
            "NotEnoughResources",
        ),
        (
            SignedUrlError::Disk(io::Error::other("gone")).into(),
            500,
            "InternalServerError",
        ),
        (RepoError::Closed.into(), 503, "ServiceUnavailable"),
        (RepoError::OtherKey.into(), 500, "InternalServerError"),
    ];
    for (error, status, name) in rows {
        let (found_status, found_name) = error.wire();
        assert_eq!((found_status.as_u16(), found_name), (status, name), "{error:?}");
    }
}

#[test]
fn the_log_has_the_whole_chain_once() {
    let error = EdgeError::from(store_down());
    assert_eq!(
        chain(&error),
        "the object store failed: the store failed to stat: /var/lib/secret is gone"
    );
}

#[test]
fn a_failure_says_nothing_but_its_name() {
    let Json(body) = body("InternalServerError", None);
    assert_eq!(body.xrpc.error, "InternalServerError");
    let message = body.xrpc.message.unwrap();
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn a_client_that_must_wait_is_told_how_long() {
    let wait = Limited {
        retry_after: Duration::from_millis(1500),
    };
    let too_many = StatusCode::TOO_MANY_REQUESTS;
    for (error, status, seconds) in [
        (EdgeError::TooManyRequests(wait), too_many, "2"),
        (EdgeError::Auth(AuthError::TooManyRequests(wait)), too_many, "2"),
        (EdgeError::TooManyExports(NoPlace::OfNetwork), too_many, "60"),
        (JoinError::TooMany(wait).into(), too_many, "2"),
        (
            EdgeError::Blob(BlobError::StillPromised),
            StatusCode::SERVICE_UNAVAILABLE,
            "30",
        ),
        (
            EdgeError::Completion(BlobError::BeingRemoved),
            StatusCode::SERVICE_UNAVAILABLE,
            "60",
        ),
    ] {
        let response = error.into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[RETRY_AFTER], seconds);
    }
}
