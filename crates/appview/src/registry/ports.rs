//! What the registry needs from outside, in its own words; `adapters/` implements it.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use secrecy::SecretString;
use url::Url;

use super::access::{Granted, Push};
use super::context::RequestContext;
use super::error::RegistryError;

/// A hold and where it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HoldRef {
    /// The hold's identity: the audience of tokens, the name in records and messages.
    pub did: Did,
    /// Its base URL, resolved from the DID; XRPC paths are joined to it.
    pub endpoint: Url,
}

/// Which hold has, or is to have, a repository's blobs.
#[async_trait]
pub trait HoldDirectory: Send + Sync {
    /// The hold that a push to the granted repository goes to, its successor followed.
    ///
    /// Where the hold lets anybody become crew, the pusher is made crew first.
    ///
    /// # Errors
    /// [`RegistryError::NoHold`] when the owner chose none; [`RegistryError::HoldUnresolvable`] when its DID leads
    /// nowhere; the PDS's errors when the owner's profile cannot be read.
    async fn for_push(&self, grant: &Granted<Push>) -> Result<HoldRef, RegistryError>;

    /// The holds that may have `digest` of the context's repository, best first: the hold of a manifest that names
    /// it, then the holds of the repository's other manifests, then the hold that a push would go to. Empty when
    /// nothing is known; a hold that does not resolve is left out.
    ///
    /// # Errors
    /// The PDS's, when nothing is known locally and the account cannot be read.
    async fn for_blob(&self, context: &RequestContext, digest: &Digest) -> Result<Vec<HoldRef>, RegistryError>;
}

/// Tokens that let this server act at a hold for a caller.
#[async_trait]
pub trait HoldTokens: Send + Sync {
    /// A service token of `principal`'s PDS for `hold`; `None` for the anonymous caller. Cached for 50 s.
    ///
    /// # Errors
    /// [`RegistryError::SessionEnded`] when the sailor has to sign in again; the PDS's errors.
    async fn token_for(&self, principal: &Principal, hold: &Did) -> Result<Option<SecretString>, RegistryError>;

    /// Forgets the cached token, after a hold answered 401 to it.
    async fn invalidate(&self, principal: &Principal, hold: &Did);
}

/// Whether a hold has a blob; the manifest push asks before it writes the record.
#[async_trait]
pub trait BlobPresence: Send + Sync {
    /// The blob's size in bytes, `None` when the hold does not have it.
    ///
    /// # Errors
    /// The hold's.
    async fn find_blob(
        &self,
        principal: &Principal,
        hold: &HoldRef,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError>;
}
