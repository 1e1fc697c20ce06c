//! Who calls, and what they may do: the extractors that handlers name in their signatures.
//!
//! | Extractor | Token | Gives |
//! |---|---|---|
//! | [`SignedIn`] | required | a DID |
//! | [`Reader`] | required unless the hold is public | [`Granted<BlobRead>`] |
//! | [`Writer`] | required | [`Granted<BlobWrite>`] |
//! | [`CrewAdministrator`] | required | [`Granted<CrewAdmin>`] |
//!
//! On a public hold a token presented for reading is not even looked at: it could change nothing.

use std::fmt;
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use atcr_auth::{AppViewTokenError, ServiceTokenError, verify_appview_token, verify_service_token};
use atcr_hold_pds::access::{Access, BlobRead, BlobWrite, CrewAdmin, Granted};
use atcr_server::address_gate::AddressGate;
use atcr_server::client_address::ClientAddress;
use atcr_server::rate_limit::{Limited, RateLimit};
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::error::EdgeError;

/// Why a caller is not known.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization` header.
    #[error("authentication is required: send a service token in the Authorization header")]
    HeaderMissing,
    /// The header is not `Bearer <token>`.
    #[error("the Authorization header must be of the form \"Bearer <token>\"")]
    HeaderMalformed,
    /// The service token is not accepted.
    #[error(transparent)]
    ServiceToken(#[from] ServiceTokenError),
    /// The account, or the address that sends tokens that are no good, asks too often.
    #[error(transparent)]
    TooManyRequests(#[from] Limited),
}

/// How often callers may ask.
#[derive(Clone, Debug)]
pub struct CallerLimits {
    /// Requests without a good token, by address. It stands in front of the routes too, for those without any token.
    pub anonymous: Arc<AddressGate>,
    /// Requests by account.
    pub account: RateLimit<Did>,
}

impl CallerLimits {
    /// Counts a request whose token is no good.
    fn refused(&self, parts: &Parts) -> Result<(), Limited> {
        match parts.extensions.get::<ClientAddress>() {
            Some(client) => self.anonymous.admit(client),
            None => Ok(()),
        }
    }
}

/// Checks tokens against this hold's DID and the network's identities.
#[derive(Clone)]
pub struct TokenVerifier {
    own_did: Did,
    trusted_appview: Option<Did>,
    resolver: Arc<dyn IdentityResolver>,
    clock: Arc<dyn Clock>,
    limits: Option<CallerLimits>,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("own_did", &self.own_did)
            .field("trusted_appview", &self.trusted_appview)
            .finish_non_exhaustive()
    }
}

impl TokenVerifier {
    /// A verifier for the hold `own_did` that believes content proofs of `trusted_appview` only.
    #[must_use]
    pub fn new(
        own_did: Did,
        trusted_appview: Option<Did>,
        resolver: Arc<dyn IdentityResolver>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            own_did,
            trusted_appview,
            resolver,
            clock,
            limits: None,
        }
    }

    /// Counts the callers as well, and refuses those beyond `limits`.
    #[must_use]
    pub fn with_limits(mut self, limits: CallerLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The account behind the service token in `parts`, for the method that its path names.
    async fn signed_in(&self, parts: &Parts) -> Result<Did, AuthError> {
        let token = bearer(parts)?;
        // A nested router has taken `/xrpc` away, an outer one would not have.
        let nsid = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let now = self.clock.now();
        let verified =
            match verify_service_token(token, &self.own_did, nsid, self.resolver.as_ref(), now).await {
                Ok(verified) => verified,
                Err(error) => {
                    if let Some(limits) = &self.limits {
                        limits.refused(parts)?;
                    }
                    return Err(error.into());
                }
            };
        if let Some(limits) = &self.limits {
            limits.account.take(&verified.did)?;
        }
        Ok(verified.did)
    }

    /// Whether the trusted AppView states, in `token`, that the bytes of the upload `upload_id` of `sailor` hash to
    /// `digest`; if so, how many bytes they are.
    ///
    /// A token that says anything else is worth nothing, and no reason to refuse: the hold then reads the bytes itself.
    pub async fn vouched_size(
        &self,
        token: &str,
        sailor: &Did,
        upload_id: &str,
        digest: &str,
    ) -> Option<u64> {
        let Some(appview) = &self.trusted_appview else {
            tracing::debug!("content proof passed over: no AppView is trusted");
            return None;
        };
        let now = self.clock.now();
        let claims =
            match verify_appview_token(token, &self.own_did, appview, self.resolver.as_ref(), now).await {
                Ok(claims) => claims,
                Err(error @ AppViewTokenError::UntrustedIssuer) => {
                    tracing::debug!(%error, "content proof passed over");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, "content proof passed over");
                    return None;
                }
            };
        let proof = claims.content_proof()?;
        let about_this = claims.sub == *sailor && proof.upload_id == upload_id && proof.digest == digest;
        if !about_this {
            tracing::warn!("content proof passed over: it is about another upload");
        }
        about_this.then_some(proof.size)
    }
}

fn bearer(parts: &Parts) -> Result<&str, AuthError> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(AuthError::HeaderMissing)?;
    let (scheme, token) = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(AuthError::HeaderMalformed)?;
    if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() {
        Ok(token.trim())
    } else {
        Err(AuthError::HeaderMalformed)
    }
}

/// Somebody with a valid service token.
#[derive(Debug)]
pub struct SignedIn(pub Did);

impl<S> FromRequestParts<S> for SignedIn
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(TokenVerifier::from_ref(state).signed_in(parts).await?))
    }
}

/// Somebody who may read blobs; anonymous on a public hold.
#[derive(Debug)]
pub struct Reader(pub Granted<BlobRead>);

impl<S> FromRequestParts<S> for Reader
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    Access: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let access = Access::from_ref(state);
        if let Some(grant) = access.read_anonymously().await? {
            return Ok(Self(grant));
        }
        let did = TokenVerifier::from_ref(state).signed_in(parts).await?;
        Ok(Self(access.read(&did).await?))
    }
}

/// Somebody who may upload blobs.
#[derive(Debug)]
pub struct Writer(pub Granted<BlobWrite>);

impl<S> FromRequestParts<S> for Writer
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    Access: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let did = TokenVerifier::from_ref(state).signed_in(parts).await?;
        Ok(Self(Access::from_ref(state).write(&did).await?))
    }
}

/// Somebody who may manage the crew.
#[derive(Debug)]
pub struct CrewAdministrator(pub Granted<CrewAdmin>);

impl<S> FromRequestParts<S> for CrewAdministrator
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    Access: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let did = TokenVerifier::from_ref(state).signed_in(parts).await?;
        Ok(Self(Access::from_ref(state).crew_admin(&did).await?))
    }
}
