//! Who calls, and what they may do: the extractors that handlers name in their signatures.
//!
//! | Extractor | Token | Gives |
//! |---|---|---|
//! | [`SignedIn`] | service token | a DID |
//! | [`SignedInDirectly`] | service token, or the account's own access token with DPoP | a DID |
//! | [`Reader`] | service token, unless the hold is public; or the scanners' secret | [`Granted<BlobRead>`] |
//! | [`Writer`] | service token | [`Granted<BlobWrite>`] |
//! | [`CrewAdministrator`] | service token made for the very method, or access token with DPoP | [`Granted<CrewAdmin>`] |
//! | [`TrustedAppView`] | token of the trusted AppView | whom it acts for |
//!
//! A service token that names `com.atproto.repo.getRecord`, or no method, was issued to an AppView to move blobs, so it does not
//! allow administration. On a public hold a token presented for reading is not checked, since it changes nothing.

use std::fmt;
use std::sync::Arc;

use atcr_atproto::clock::Clock;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use atcr_auth::{
    AppViewTokenError, ServiceTokenError, VerifiedServiceToken, claimed_issuer, verify_appview_token,
    verify_service_token,
};
use atcr_hold_pds::access::{Access, BlobRead, BlobWrite, CrewAdmin, Granted};
use atcr_server::rate_limit::Limited;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderName;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::caller_limits::{CallerLimits, Check};
use super::error::EdgeError;
use super::scanner::shown_in_header;
use crate::access_tokens::{AccountSessions, SessionError};
use crate::scanning::Scanning;

/// Carries the proof beside an access token.
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// Carries the nonce that a proof has to have.
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Why a caller is not known.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization` header.
    #[error("authentication is required: send a service token in the Authorization header")]
    HeaderMissing,
    /// The header is not `Bearer <token>`, or not `DPoP <token>` beside a proof where that is taken.
    #[error("the Authorization header must be of the form \"Bearer <token>\"")]
    HeaderMalformed,
    /// The method wants a service token of its own.
    #[error(
        "this method takes a service token made for it only: ask getServiceAuth for one with lxm={method}"
    )]
    MethodNotNamed {
        /// The method called.
        method: String,
    },
    /// The service token is not accepted.
    #[error(transparent)]
    ServiceToken(#[from] ServiceTokenError),
    /// The AppView's token is not accepted.
    #[error(transparent)]
    AppView(#[from] AppViewTokenError),
    /// No AppView is trusted here.
    #[error("this hold trusts no AppView: server.appview_did is not set")]
    NoAppView,
    /// A token that vouches for the content of an upload allows nothing else.
    #[error("the AppView's token is for the completion of an upload")]
    NotForThis,
    /// The access token is not accepted.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The account, or the address that sends tokens that are no good, asks too often.
    #[error(transparent)]
    TooManyRequests(#[from] Limited),
}

/// Checks tokens against this hold's DID and the network's identities.
#[derive(Clone)]
pub struct TokenVerifier {
    own_did: Did,
    trusted_appview: Option<Did>,
    resolver: Arc<dyn IdentityResolver>,
    sessions: Arc<dyn AccountSessions>,
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
        sessions: Arc<dyn AccountSessions>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            own_did,
            trusted_appview,
            resolver,
            sessions,
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
    pub(in crate::edge) async fn signed_in(&self, parts: &Parts) -> Result<Did, AuthError> {
        let caller = match credential(parts) {
            Ok(Credential::ServiceToken(token)) => self.verify(token, parts).await.map(|token| token.did),
            Ok(Credential::AccessToken { .. }) => Err(AuthError::HeaderMalformed),
            Err(error) => Err(error),
        };
        self.counted(parts, caller)
    }

    /// As [`signed_in`](Self::signed_in), or the account behind an access token.
    async fn signed_in_directly(&self, parts: &Parts) -> Result<Did, AuthError> {
        let caller = match credential(parts) {
            Ok(Credential::ServiceToken(token)) => self.verify(token, parts).await.map(|token| token.did),
            Ok(Credential::AccessToken { token, proof }) => self.ask_pds(token, proof, parts).await,
            Err(error) => Err(error),
        };
        self.counted(parts, caller)
    }

    /// The account behind a service token that names the method called, or behind an access token.
    async fn signed_in_for_this(&self, parts: &Parts) -> Result<Did, AuthError> {
        let caller = match credential(parts) {
            Ok(Credential::ServiceToken(token)) => self.verify(token, parts).await.and_then(|token| {
                let method = called_method(parts);
                if token.lxm.as_deref() == Some(method) {
                    Ok(token.did)
                } else {
                    Err(AuthError::MethodNotNamed {
                        method: method.to_owned(),
                    })
                }
            }),
            Ok(Credential::AccessToken { token, proof }) => self.ask_pds(token, proof, parts).await,
            Err(error) => Err(error),
        };
        self.counted(parts, caller)
    }

    /// Whom the trusted AppView acts for, as its token in `parts` says.
    async fn appview(&self, parts: &Parts) -> Result<Did, AuthError> {
        let user = self.ask_appview(parts).await;
        self.counted(parts, user)
    }

    async fn ask_appview(&self, parts: &Parts) -> Result<Did, AuthError> {
        let Credential::ServiceToken(token) = credential(parts)? else {
            return Err(AuthError::HeaderMalformed);
        };
        let appview = self.trusted_appview.as_ref().ok_or(AuthError::NoAppView)?;
        let check = self.begin(parts, || None)?;
        let now = self.clock.now();
        let resolver = self.resolver.as_ref();
        let claims = verify_appview_token(token, &self.own_did, appview, resolver, now).await?;
        if claims.concerns_content() {
            return Err(AuthError::NotForThis);
        }
        if let Some(check) = check {
            check.passed();
        }
        Ok(claims.sub)
    }

    async fn verify(&self, token: &str, parts: &Parts) -> Result<VerifiedServiceToken, AuthError> {
        let check = self.begin(parts, || claimed_issuer(token))?;
        let now = self.clock.now();
        let method = called_method(parts);
        let verified =
            verify_service_token(token, &self.own_did, method, self.resolver.as_ref(), now).await?;
        if let Some(check) = check {
            check.succeeded(&verified.did);
        }
        Ok(verified)
    }

    async fn ask_pds(&self, token: &str, proof: &str, parts: &Parts) -> Result<Did, AuthError> {
        let check = self.begin(parts, || None)?;
        // A proof without the PDS's nonce counts as a failure too: a host that asks for another nonce each time costs as much.
        let account = self.sessions.account_of(token, proof).await?;
        if let Some(check) = check {
            check.succeeded(&account);
        }
        Ok(account)
    }

    /// Whether a scanner's secret is right. A wrong one counts as a credential that is no good; after too many of these from one address
    /// none is looked at.
    pub(in crate::edge) fn knows_secret(
        &self,
        parts: &Parts,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, AuthError> {
        let check = self.begin(parts, || None)?;
        if is_right() {
            if let Some(check) = check {
                check.passed();
            }
            return Ok(true);
        }
        self.unchecked(parts)?;
        Ok(false)
    }

    fn begin(&self, parts: &Parts, claimed: impl FnOnce() -> Option<Did>) -> Result<Option<Check>, Limited> {
        match &self.limits {
            Some(limits) => limits.begin(parts, claimed()),
            None => Ok(None),
        }
    }

    /// Counts a request whose credential is not checked: for its address, as if it had none.
    fn unchecked(&self, parts: &Parts) -> Result<(), AuthError> {
        match &self.limits {
            Some(limits) if parts.headers.contains_key(AUTHORIZATION) => Ok(limits.refused(parts)?),
            _ => Ok(()),
        }
    }

    /// Counts the request for the account, or for the address if its credential is not valid.
    fn counted(&self, parts: &Parts, caller: Result<Did, AuthError>) -> Result<Did, AuthError> {
        if let Some(limits) = &self.limits {
            match &caller {
                Ok(did) => limits.accepted(did)?,
                // The gate in front has counted it.
                Err(AuthError::HeaderMissing) => {}
                Err(_) => limits.refused(parts)?,
            }
        }
        caller
    }

    /// Whether the trusted AppView states, in `token`, that the bytes of the upload `upload_id` of `sailor` hash to
    /// `digest`; if so, how many bytes they are.
    ///
    /// A token that says anything else is ignored rather than refused: the hold then reads the bytes itself.
    pub async fn vouched_size(
        &self,
        token: &str,
        sailor: &Did,
        upload_id: &str,
        digest: &str,
    ) -> Option<u64> {
        let Some(appview) = &self.trusted_appview else {
            tracing::debug!("content proof ignored: no AppView is trusted");
            return None;
        };
        let now = self.clock.now();
        let claims =
            match verify_appview_token(token, &self.own_did, appview, self.resolver.as_ref(), now).await {
                Ok(claims) => claims,
                Err(error @ AppViewTokenError::UntrustedIssuer) => {
                    tracing::debug!(%error, "content proof ignored");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, "content proof ignored");
                    return None;
                }
            };
        let proof = claims.content_proof()?;
        let about_this = claims.sub == *sailor && proof.upload_id == upload_id && proof.digest == digest;
        if !about_this {
            tracing::warn!("content proof ignored: it is about another upload");
        }
        about_this.then_some(proof.size)
    }
}

/// A nested router has removed `/xrpc` from the path; an outer router has not.
fn called_method(parts: &Parts) -> &str {
    parts.uri.path().rsplit('/').next().unwrap_or_default()
}

/// What a caller presents.
enum Credential<'a> {
    ServiceToken(&'a str),
    AccessToken { token: &'a str, proof: &'a str },
}

fn credential(parts: &Parts) -> Result<Credential<'_>, AuthError> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(AuthError::HeaderMissing)?;
    let (scheme, token) = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .map(|(scheme, token)| (scheme, token.trim()))
        .filter(|(_, token)| !token.is_empty())
        .ok_or(AuthError::HeaderMalformed)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credential::ServiceToken(token));
    }
    let proof = parts.headers.get(DPOP).and_then(|proof| proof.to_str().ok());
    match proof {
        Some(proof) if scheme.eq_ignore_ascii_case("dpop") => Ok(Credential::AccessToken { token, proof }),
        _ => Err(AuthError::HeaderMalformed),
    }
}

/// A caller with a valid service token.
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

/// A caller with a valid service token, or with an access token and a DPoP proof.
#[derive(Debug)]
pub struct SignedInDirectly(pub Did);

impl<S> FromRequestParts<S> for SignedInDirectly
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(
            TokenVerifier::from_ref(state).signed_in_directly(parts).await?,
        ))
    }
}

/// A caller who may read blobs; anonymous on a public hold. A scanner shows its secret instead of a token.
#[derive(Debug)]
pub struct Reader(pub Granted<BlobRead>);

impl<S> FromRequestParts<S> for Reader
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
    Access: FromRef<S>,
    Scanning: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let access = Access::from_ref(state);
        if let Some(shown) = shown_in_header(parts) {
            let scanning = Scanning::from_ref(state);
            let verifier = TokenVerifier::from_ref(state);
            return if verifier.knows_secret(parts, || scanning.knows(shown))? {
                Ok(Self(access.read_as_scanner()))
            } else {
                Err(EdgeError::InvalidSecret)
            };
        }
        let verifier = TokenVerifier::from_ref(state);
        if let Some(grant) = access.read_anonymously().await? {
            verifier.unchecked(parts)?;
            return Ok(Self(grant));
        }
        let did = verifier.signed_in(parts).await?;
        Ok(Self(access.read(&did).await?))
    }
}

/// A caller who may upload blobs.
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

/// A caller who may manage the crew.
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
        let did = TokenVerifier::from_ref(state).signed_in_for_this(parts).await?;
        Ok(Self(Access::from_ref(state).crew_admin(&did).await?))
    }
}

/// The AppView that this hold trusts, acting for a user.
#[derive(Debug)]
pub struct TrustedAppView {
    /// The user that the token is about.
    pub user: Did,
}

impl<S> FromRequestParts<S> for TrustedAppView
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let user = TokenVerifier::from_ref(state).appview(parts).await?;
        Ok(Self { user })
    }
}
