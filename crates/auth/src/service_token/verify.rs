//! Checks a service token, cheap checks first: a forged one costs no look-up unless it is addressed to us and in time.

use atcr_atproto::clock::instant;
use atcr_atproto::identity::IdentityResolver;
use atcr_atproto::syntax::Did;
use chrono::{DateTime, Utc};

use super::{ServiceTokenClaims, ServiceTokenError, UNIVERSAL_METHOD, VerifiedServiceToken};
use crate::bounds::{LEEWAY, SERVICE_TOKEN_LIFE};
use crate::jws::UnverifiedJws;

/// Checks a service token presented for a call of `called_nsid` at the service `own_did`.
///
/// The issuer's document is fetched again once if the known key does not verify the signature, since keys rotate. The
/// same token may be presented any number of times.
///
/// # Errors
/// See [`ServiceTokenError`]; [`ServiceTokenError::is_transient`] tells "cannot check now" from "no".
///
/// # Security
/// The key comes from the issuer's DID document alone; algorithm and key must be of the same curve; a high S is refused.
///
/// # Spec
/// atproto specs "XRPC", inter-service authentication (JWT). `lxm` may also be [`UNIVERSAL_METHOD`], which is what the
/// registry's scopes ask for.
pub async fn verify_service_token(
    token: &str,
    own_did: &Did,
    called_nsid: &str,
    resolver: &dyn IdentityResolver,
    now: DateTime<Utc>,
) -> Result<VerifiedServiceToken, ServiceTokenError> {
    let jws = UnverifiedJws::parse(token)?;
    let claims: ServiceTokenClaims = jws.claims()?;
    let did = issuer(&claims)?;
    check_audience(&claims.aud, own_did)?;
    let exp = check_times(&claims, now)?;
    check_method(claims.lxm.as_deref(), called_nsid)?;
    let did = check_signature(&jws, did, resolver).await?;
    Ok(VerifiedServiceToken {
        did,
        lxm: claims.lxm,
        exp,
    })
}

/// The account that `token` claims to be of, which nothing has checked; `None` if it is no token.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<Did> {
    let claims: ServiceTokenClaims = UnverifiedJws::parse(token).ok()?.claims().ok()?;
    issuer(&claims).ok()
}

fn issuer(claims: &ServiceTokenClaims) -> Result<Did, ServiceTokenError> {
    if claims.sub.as_ref().is_some_and(|sub| *sub != claims.iss) {
        return Err(ServiceTokenError::Malformed {
            reason: "its subject is not its issuer",
        });
    }
    without_fragment(&claims.iss)
        .parse()
        .map_err(|_| ServiceTokenError::InvalidIssuer)
}

fn check_audience(aud: &str, own_did: &Did) -> Result<(), ServiceTokenError> {
    let is_ours = |aud: Did| aud.normalised() == own_did.normalised();
    if without_fragment(aud).parse().is_ok_and(is_ours) {
        Ok(())
    } else {
        Err(ServiceTokenError::WrongAudience)
    }
}

fn check_times(claims: &ServiceTokenClaims, now: DateTime<Utc>) -> Result<DateTime<Utc>, ServiceTokenError> {
    let exp = instant(claims.exp);
    if exp <= now - LEEWAY {
        return Err(ServiceTokenError::Expired);
    }
    if exp > now + SERVICE_TOKEN_LIFE + LEEWAY {
        return Err(ServiceTokenError::LivesTooLong);
    }
    if claims.nbf.is_some_and(|nbf| nbf > (now + LEEWAY).timestamp()) {
        return Err(ServiceTokenError::NotYetValid);
    }
    Ok(exp)
}

fn check_method(lxm: Option<&str>, called_nsid: &str) -> Result<(), ServiceTokenError> {
    match lxm {
        None => Ok(()),
        Some(lxm) if lxm == called_nsid || lxm == UNIVERSAL_METHOD => Ok(()),
        Some(lxm) => Err(ServiceTokenError::WrongMethod { lxm: lxm.to_owned() }),
    }
}

/// Returns the issuer as its document spells it, so that one account never appears under two names.
async fn check_signature(
    jws: &UnverifiedJws<'_>,
    issuer: Did,
    resolver: &dyn IdentityResolver,
) -> Result<Did, ServiceTokenError> {
    let unresolved = |source| ServiceTokenError::UnresolvedIssuer {
        did: issuer.clone(),
        source,
    };
    let known = resolver.resolve_document(&issuer).await.map_err(unresolved)?;
    if known.signing_key().is_some_and(|key| jws.is_signed_by(&key)) {
        return Ok(known.id().clone());
    }
    let current = resolver.refresh_document(&issuer).await.map_err(unresolved)?;
    match current.signing_key() {
        None => Err(ServiceTokenError::NoSigningKey { did: issuer }),
        Some(key) if jws.is_signed_by(&key) => Ok(current.id().clone()),
        Some(_) => Err(ServiceTokenError::BadSignature),
    }
}

fn without_fragment(did: &str) -> &str {
    did.split_once('#').map_or(did, |(did, _)| did)
}
