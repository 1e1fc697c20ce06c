//! What the registry needs of holds, besides blobs.

use async_trait::async_trait;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use bytes::Bytes;
use secrecy::SecretString;
use url::Url;

use crate::access::{Granted, Push};
use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::hold::error::HoldError;
pub use crate::hold::quota::Quota;

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
    /// Where the hold lets every account become crew, the pusher is made crew first. All that is asked of holds for it takes no longer
    /// than one answer of a hold may; one that failed is not asked again for some seconds.
    ///
    /// # Errors
    /// [`RegistryError::NoHold`] when the owner chose none; [`HoldError::Unresolvable`] when its DID leads
    /// nowhere; [`HoldError::TimedOut`], [`HoldError::Unreachable`] when it is down; the PDS's errors when the
    /// owner's profile cannot be read.
    async fn for_push(&self, grant: &Granted<Push>) -> Result<HoldRef, RegistryError>;

    /// The holds that are known to have blobs of the context's repository, best first: that of a manifest that names `digest`, then
    /// those of the repository's other manifests. No host is asked for it.
    ///
    /// # Errors
    /// The database's.
    async fn for_blob(&self, context: &RequestContext, digest: &Digest) -> Result<Vec<Did>, RegistryError>;

    /// Where a hold answers.
    ///
    /// # Errors
    /// [`HoldError::Unresolvable`], [`HoldError::Unreachable`].
    async fn resolve(&self, hold: &Did) -> Result<HoldRef, RegistryError>;

    /// The hold that the owner's pushes go to, for blobs that none of [`HoldDirectory::for_blob`] has; `None` when the owner
    /// chose none.
    ///
    /// # Errors
    /// Those of [`HoldDirectory::for_push`].
    async fn of_pushes(&self, context: &RequestContext) -> Result<Option<HoldRef>, RegistryError>;

    /// Asks a hold that takes every account as crew to take `principal`, whom it has just refused. True when it has become worth asking the
    /// hold again; at most once in some minutes for each caller.
    async fn admit(&self, principal: &Principal, hold: &HoldRef) -> bool;
}

/// Tokens that let this server act at a hold for a caller.
#[async_trait]
pub trait HoldTokens: Send + Sync {
    /// A service token of `principal`'s PDS for `hold`; `None` for the anonymous caller. Cached for 50 s.
    ///
    /// # Errors
    /// `AccessError::SessionEnded` when the sailor has to sign in again; the PDS's errors.
    async fn token_for(
        &self,
        principal: &Principal,
        hold: &Did,
    ) -> Result<Option<SecretString>, RegistryError>;

    /// Forgets the cached token, after a hold answered 401 to it.
    async fn invalidate(&self, principal: &Principal, hold: &Did);
}

/// What the registry asks and tells a hold, besides blobs.
#[async_trait]
pub trait HoldGateway: Send + Sync {
    /// The hold's captain record; `None` when it has none that can be read.
    async fn find_captain(&self, hold: &HoldRef) -> Result<Option<CaptainRecord>, HoldError>;

    /// Asks the hold to make the token's bearer a member. Being one already is success.
    async fn request_crew(&self, hold: &HoldRef, token: &SecretString) -> Result<(), HoldError>;

    /// Tells the hold that a manifest was pushed or pulled.
    async fn notify_manifest(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        notice: &NotifyManifestInput,
    ) -> Result<(), HoldError>;

    /// What `user` has at the hold and may have.
    async fn find_quota(&self, hold: &HoldRef, user: &Did) -> Result<Quota, HoldError>;

    /// All that the hold knows of the token's bearer, as the hold writes it: JSON of a length and depth of our bounds.
    async fn export_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<Bytes, HoldError>;

    /// Asks the hold to erase what it knows of the token's bearer.
    async fn delete_user_data(&self, hold: &HoldRef, token: &SecretString) -> Result<(), HoldError>;
}
