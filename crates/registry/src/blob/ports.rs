//! What the blob use cases need from a hold, in the words of the domain.
//!
//! The adapter behind [`BlobGateway`] speaks the hold's XRPC and its signed URLs; nothing here knows HTTP.

use std::fmt;
use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use atcr_atproto::lexicon::hold_upload::S3_MIN_PART_SIZE;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::Principal;
use atcr_oci::Digest;
use bytes::Bytes;
use futures_util::Stream;
use secrecy::SecretString;
use url::Url;

use crate::context::RequestContext;
use crate::error::RegistryError;
use crate::hold::error::HoldError;
use crate::hold::ports::HoldRef;

/// Bytes that arrive piece by piece. An `Err` ends the stream and means that the bytes are *not* complete.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The bytes of one part on their way to a store.
pub struct PartBody {
    /// Exact length in bytes; `None` when it is unknown until the end, which only streaming stores accept.
    pub len: Option<u64>,
    /// The bytes themselves.
    pub bytes: ByteStream,
}

impl PartBody {
    /// A part that is already in memory.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        let len = Some(bytes.len() as u64);
        let pieces = (!bytes.is_empty()).then_some(Ok(bytes));
        Self {
            len,
            bytes: Box::pin(futures_util::stream::iter(pieces)),
        }
    }
}

impl fmt::Debug for PartBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartBody")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// A signed URL: its bearer may do what it says. `Debug` shows only the host.
#[derive(Clone)]
pub struct SignedUrl(Url);

impl SignedUrl {
    /// Takes a URL that a hold handed out.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self(url)
    }

    /// The URL with its signature: for the wire only, never for a log.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedUrl({})", self.0.host_str().unwrap_or("?"))
    }
}

/// Where and how one part is sent.
#[derive(Clone, Debug)]
pub struct PartTarget {
    /// The signed URL.
    pub url: SignedUrl,
    /// HTTP method, usually `PUT`.
    pub method: String,
    /// Headers that the store wants to see with it.
    pub headers: Vec<(String, String)>,
}

/// What a hold says about the store behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTraits {
    /// Smallest size in bytes of every part but the last.
    pub min_part_size: u64,
    /// Largest size in bytes of a part; `None` when the hold names none.
    pub max_part_size: Option<u64>,
    /// The store hashes what it stores, so that it needs no statement about the content.
    pub hashes: bool,
    /// A part may have any size, may be sent without its length being known, and parts come strictly in order.
    pub streaming: bool,
    /// The hold described its store. Otherwise this is the assumption made about a hold that does not.
    pub announced: bool,
}

impl StoreTraits {
    /// What is assumed of a hold that says nothing: S3 behind it.
    #[must_use]
    pub fn assumed() -> Self {
        Self {
            min_part_size: S3_MIN_PART_SIZE,
            max_part_size: None,
            hashes: false,
            streaming: false,
            announced: false,
        }
    }
}

/// A multipart upload that a hold has begun.
#[derive(Clone, Debug)]
pub struct BegunUpload {
    /// The hold's name for it.
    pub upload_id: String,
    /// The store that it goes to.
    pub traits: StoreTraits,
    /// Where part 1 goes, when the hold said so at once.
    pub first_part: Option<PartTarget>,
}

/// One part that the store has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// 1-based number.
    pub number: u32,
    /// The store's entity tag, without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
}

/// An upload whose parts are all there.
#[derive(Clone, Copy, Debug)]
pub struct WholeUpload<'a> {
    /// The hold's name for it.
    pub upload_id: &'a str,
    /// For which of the uploader's repositories the blob is.
    pub repository: &'a str,
    /// What it is.
    pub digest: &'a Digest,
    /// Its parts, in order.
    pub parts: &'a [UploadedPart],
    /// The statement that vouches for the content, when there is one.
    pub proof: Option<&'a SecretString>,
}

/// The bytes of a blob as a store sends them.
pub struct BlobDownload {
    /// How many bytes are coming, when the store says so.
    pub len: Option<u64>,
    /// The bytes. Dropping the stream ends the transfer.
    pub bytes: ByteStream,
}

/// The repository in whose name a hold is asked: a blob that was deleted from it is not there for it, while others have it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whose it is.
    pub owner: &'a Did,
    /// The image name without the owner.
    pub repository: &'a str,
}

impl<'a> Place<'a> {
    /// The repository that a request is about.
    #[must_use]
    pub fn of(context: &'a RequestContext) -> Self {
        Self {
            owner: &context.owner.did,
            repository: context.repository(),
        }
    }
}

/// What came of a blob's deletion from a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobDeletion {
    /// It is not there any more.
    Deleted,
    /// It was not there.
    Absent,
    /// A manifest of the repository names it.
    InUse {
        /// The hold's sentence, which names the manifest.
        message: String,
    },
    /// The hold knows no deletion of blobs.
    Unsupported,
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
        place: Place<'_>,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError>;
}

/// Blobs of holds: ask for them, fetch them, store them.
///
/// A `token` is the service token of the user for this hold; `None` asks anonymously. It goes to the hold's own methods only:
/// a signed URL speaks for itself and never gets one.
#[async_trait]
pub trait BlobGateway: Send + Sync {
    /// The size in bytes of `digest` in `hold`, `None` when the hold does not have it, or `place` does not any more.
    async fn stat(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<u64>, HoldError>;

    /// A signed URL from which `digest` can be read, `None` when the hold does not have it.
    async fn download_url(
        &self,
        hold: &HoldRef,
        place: Place<'_>,
        digest: &Digest,
        token: Option<&SecretString>,
    ) -> Result<Option<SignedUrl>, HoldError>;

    /// Opens `url` for reading the whole blob.
    async fn open(&self, url: &SignedUrl) -> Result<BlobDownload, HoldError>;

    /// Begins an upload under a temporary identifier. `size` is the blob's length in bytes, when it is known already.
    async fn begin_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        temporary_id: &str,
        size: Option<u64>,
    ) -> Result<BegunUpload, HoldError>;

    /// Where part `number` of an upload goes.
    async fn part_target(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        upload_id: &str,
        number: u32,
    ) -> Result<PartTarget, HoldError>;

    /// Sends one part and returns its entity tag. Sending the same number again replaces the part.
    ///
    /// # Cancel safety
    /// Dropping the future, or an `Err` in the body, breaks the connection before the end of the body, so that the store
    /// does not take what arrived for a complete part.
    async fn send_part(&self, target: &PartTarget, body: PartBody) -> Result<String, HoldError>;

    /// Takes `digest` away from a repository of the account that the token speaks for.
    async fn delete_blob(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        repository: &str,
        digest: &Digest,
    ) -> Result<BlobDeletion, HoldError>;

    /// Finishes an upload.
    async fn complete_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        whole: &WholeUpload<'_>,
    ) -> Result<(), HoldError>;

    /// Gives an upload up. Unknown uploads are an error that a caller may well ignore.
    async fn abort_upload(
        &self,
        hold: &HoldRef,
        token: &SecretString,
        upload_id: &str,
    ) -> Result<(), HoldError>;
}
