//! Every way a use case of the registry can fail, in its own words; the edge alone knows statuses.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_oci::{Digest, UploadSessionId};

/// The source of an error, kept for the log.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why a registry request failed. Cheap to clone, since callers that waited for the same answer share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    // --- The request itself -----------------------------------------------------------------------------------
    /// The body ended or broke before it was complete.
    #[error("the request body broke off: {source}")]
    BodyInterrupted {
        /// What the connection said.
        #[source]
        source: Source,
    },

    // --- Who asks ---------------------------------------------------------------------------------------------
    /// This needs a sign-in.
    #[error("authentication required")]
    SignInRequired,
    /// The caller's token was not issued for this; another one may be.
    #[error("the token does not cover this request")]
    NotCovered,
    /// What the caller signed in with is not, or no longer, good.
    #[error("{reason}")]
    SignedOut {
        /// The sentence for people.
        reason: String,
    },
    /// Known, and not allowed.
    #[error("{reason}")]
    Denied {
        /// Why, and what would help.
        reason: String,
    },
    /// The owner chose to have no hold, so there is nowhere to push to.
    #[error("no hold is chosen for this account: set one in the settings, then push again")]
    NoHold,
    /// The hold will not take more from this account.
    #[error("the quota of hold {hold} is used up: {reason}")]
    QuotaExceeded {
        /// The hold that refused.
        hold: Did,
        /// What it said.
        reason: String,
    },
    /// What was asked for is not among the account's records that were listed, and it has more.
    #[error(
        "not found among the records of {did} that this registry lists; the account has too many to list them all"
    )]
    AccountTooLarge {
        /// The account.
        did: Did,
    },
    /// The account's PDS serves an older state of it than it has served before.
    #[error(
        "refused: the PDS of {did} serves revision {rev}, which is older than the {newest} that it served before; a new write to \
         the account, a push for example, mends this if it was restored from a backup"
    )]
    RolledBack {
        /// The account.
        did: Did,
        /// The revision that it serves.
        rev: String,
        /// The newest that was seen.
        newest: String,
    },
    /// This server's own limit was reached.
    #[error("too many requests; try again in {} s", retry_after.as_secs())]
    TooManyRequests {
        /// How long to wait.
        retry_after: Duration,
    },

    // --- Names ------------------------------------------------------------------------------------------------
    /// The identity does not exist, or the account has no such repository.
    #[error("repository {name} is not known: {reason}")]
    NameUnknown {
        /// The repository as it was spelled.
        name: String,
        /// Which part is missing.
        reason: String,
    },
    /// The identity could not be resolved just now.
    #[error("the identity of {name} cannot be resolved now: {reason}")]
    IdentityUnavailable {
        /// The repository as it was spelled.
        name: String,
        /// Which server did not answer.
        reason: String,
        /// The resolver's error.
        #[source]
        source: Source,
    },

    // --- Manifests --------------------------------------------------------------------------------------------
    /// No such manifest in the repository.
    #[error("manifest {reference} is not in {name}")]
    ManifestUnknown {
        /// The repository as it was spelled.
        name: String,
        /// The tag or digest asked for.
        reference: String,
    },
    /// The body is no manifest that can be kept.
    #[error("not a manifest: {reason}")]
    ManifestInvalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest is bigger than a registry has to take.
    #[error("the manifest is larger than {limit} bytes")]
    ManifestTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The manifest names blobs or manifests that were not pushed first.
    #[error("the manifest names content that is not there: {}", list(.missing))]
    ManifestBlobUnknown {
        /// Every missing digest.
        missing: Vec<Digest>,
    },
    /// The manifest is named by an index of the repository, so it stays.
    #[error("index {index} still names {digest}; delete the index first")]
    ManifestReferenced {
        /// The manifest that was to be deleted.
        digest: Digest,
        /// The index that names it.
        index: Digest,
    },

    // --- Blobs and uploads ------------------------------------------------------------------------------------
    /// No such blob.
    #[error("blob {digest} is not known")]
    BlobUnknown {
        /// The digest asked for.
        digest: Digest,
    },
    /// The bytes do not hash to the digest that was given for them.
    #[error("the content hashes to {actual}, not to {expected}")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What was computed.
        actual: Digest,
    },
    /// The hold looked at the bytes itself and found that they are not what the digest names.
    #[error("hold {hold} found that the content does not hash to {digest}")]
    DigestRefused {
        /// The hold.
        hold: Did,
        /// What was promised.
        digest: Digest,
    },
    /// The blob or its part is longer or shorter than it was said to be.
    #[error("{reason}")]
    SizeInvalid {
        /// What was expected and what came.
        reason: String,
    },
    /// No such upload session: never was, expired, or another account's.
    #[error("upload {session} is not known; start the upload again")]
    UploadUnknown {
        /// The session asked for.
        session: UploadSessionId,
    },
    /// The upload cannot go on.
    #[error("the upload cannot be continued: {reason}")]
    UploadInvalid {
        /// Why.
        reason: String,
    },
    /// The account has more unfinished uploads than it may have.
    #[error(
        "the account has {most} unfinished uploads; finish or cancel some, or wait until they expire, and try again in {} s",
        retry_after.as_secs()
    )]
    TooManyUploads {
        /// How many it may have.
        most: u32,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The account's unfinished uploads take all the room here that one account may have.
    #[error(
        "the account's unfinished uploads take {limit} bytes here, which is all it may have; finish or cancel some and try again in {} s",
        retry_after.as_secs()
    )]
    SpoolQuota {
        /// Bytes that an account may have.
        limit: u64,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The unfinished uploads of all accounts take all the room there is.
    #[error("there is no room for more uploads now; try again in {} s", retry_after.as_secs())]
    SpoolFull {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Another request is writing to this session.
    #[error("another request is writing to this upload")]
    UploadBusy,
    /// A chunk does not begin where the last one ended.
    #[error("the chunk begins at {given}, {received} bytes were received")]
    ChunkOutOfOrder {
        /// The session, for the `Location` of the answer.
        session: UploadSessionId,
        /// The offset the client gave.
        given: u64,
        /// The bytes received so far.
        received: u64,
    },
    /// A `Range` that the blob cannot satisfy.
    #[error("the range is outside the blob of {size} bytes")]
    RangeNotSatisfiable {
        /// The blob's size in bytes.
        size: u64,
    },
    /// This registry does not do that.
    #[error("{reason}")]
    Unsupported {
        /// What is not done, and why.
        reason: String,
    },

    // --- The hold ---------------------------------------------------------------------------------------------
    /// The hold's DID does not resolve to an endpoint.
    #[error("hold {hold} cannot be found: {reason}")]
    HoldUnresolvable {
        /// The hold.
        hold: Did,
        /// Why.
        reason: String,
    },
    /// The hold or its store cannot be reached.
    #[error("hold {hold} cannot be reached: {reason}")]
    HoldUnreachable {
        /// The hold.
        hold: Did,
        /// A short reason without addresses or secrets.
        reason: String,
    },
    /// The hold did not answer, or made no progress, in time.
    #[error("hold {hold} did not answer in time")]
    HoldTimeout {
        /// The hold.
        hold: Did,
    },
    /// The hold limits its callers.
    #[error("hold {hold} asks to slow down; try again in {} s", retry_after.as_secs())]
    HoldRateLimited {
        /// The hold.
        hold: Did,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The hold wants a (fresh) token of the caller: an anonymous caller of a private hold, or a token it does not take.
    #[error("hold {hold} asks for a sign-in: {reason}")]
    HoldUnauthorized {
        /// The hold.
        hold: Did,
        /// What it said.
        reason: String,
    },
    /// The hold knows the caller and refuses.
    #[error("hold {hold} refuses: {reason}")]
    HoldForbidden {
        /// The hold.
        hold: Did,
        /// What it said.
        reason: String,
    },
    /// The hold answered that it will not do it, for none of these reasons; asking again will not help.
    #[error("hold {hold} refused the request: {reason}")]
    HoldRefused {
        /// The hold.
        hold: Did,
        /// Its answer, shortened.
        reason: String,
    },
    /// The hold or its store failed, and may do it another time.
    #[error("hold {hold} failed: {reason}")]
    HoldFailed {
        /// The hold.
        hold: Did,
        /// Its answer, shortened.
        reason: String,
    },

    // --- The PDS ----------------------------------------------------------------------------------------------
    /// The account has no PDS in its DID document.
    #[error("account {did} names no PDS")]
    PdsMissing {
        /// The account.
        did: Did,
    },
    /// The PDS cannot be reached.
    #[error("the PDS {host} cannot be reached: {reason}")]
    PdsUnreachable {
        /// Its host.
        host: String,
        /// A short reason.
        reason: String,
        /// The transport's error.
        #[source]
        source: Source,
    },
    /// The PDS did not answer in time.
    #[error("the PDS {host} did not answer in time")]
    PdsTimeout {
        /// Its host.
        host: String,
    },
    /// The PDS limits its callers.
    #[error("the PDS {host} asks to slow down; try again in {} s", retry_after.as_secs())]
    PdsRateLimited {
        /// Its host.
        host: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The PDS takes no blob or record of this size.
    #[error("the PDS {host} does not take content of this size: {reason}")]
    PdsTooLarge {
        /// Its host.
        host: String,
        /// What it said.
        reason: String,
    },
    /// The PDS says that it cannot serve for the moment.
    #[error("the PDS {host} cannot answer now: {reason}")]
    PdsUnavailable {
        /// Its host.
        host: String,
        /// Its message, shortened.
        reason: String,
    },
    /// The PDS answered with an error that is none of these.
    #[error("the PDS {host} answered {error}: {reason}")]
    PdsFailed {
        /// Its host.
        host: String,
        /// The XRPC error name.
        error: String,
        /// Its message, shortened.
        reason: String,
    },
    /// The PDS no longer takes the stored session.
    #[error("{sentence}")]
    SessionEnded {
        /// The sentence, which says how or where to sign in again.
        sentence: String,
    },

    // --- Ourselves --------------------------------------------------------------------------------------------
    /// Bytes that came back are not what was stored.
    #[error("stored content is damaged: {what}")]
    Corrupt {
        /// Which content, and how it is known to be damaged.
        what: String,
    },
    /// The local database failed.
    #[error("the local database failed")]
    Database(#[source] Source),
    /// The local disk failed.
    #[error("the local disk failed")]
    Disk(#[source] Arc<std::io::Error>),
    /// An invariant of this program does not hold.
    #[error("internal error: {what}")]
    Internal {
        /// Which.
        what: String,
    },
}

impl RegistryError {
    /// An invariant of this program does not hold: `what`.
    #[must_use]
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }

    /// A session made with an app password is over.
    #[must_use]
    pub fn session_ended() -> Self {
        Self::SessionEnded {
            sentence: "the session with the PDS has ended; sign in again with docker login".to_owned(),
        }
    }
}

impl From<std::io::Error> for RegistryError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(Arc::new(error))
    }
}

fn list(digests: &[Digest]) -> String {
    let texts: Vec<String> = digests.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
