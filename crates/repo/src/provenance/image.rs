//! An image, proven by the records of its tag and its manifest and by the manifest's bytes.

use atcr_atproto::crypto::PublicKey;
use atcr_atproto::data_model::{RAW, cid_of};
use atcr_atproto::identity::DidDocument;
use atcr_atproto::lexicon::Record as _;
use atcr_atproto::lexicon::manifest::{self, ManifestRecord};
use atcr_atproto::lexicon::tag::{self, TagRecord};
use atcr_atproto::syntax::{Cid, Datetime, Did, Handle, RecordKey, Tid};
use atcr_oci::{Digest, Reference, Tag};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::Refusal;
use super::record::{ProvenRecord, RecordClaim, record};
use super::refusal::shortened;

/// Longest media type of a record, in bytes. A verdict is kept and shown, so it has no part that a stranger makes long.
const MAX_MEDIA_TYPE_BYTES: usize = 512;

/// What is to be proven.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The repository, without the identity.
    pub repository: String,
    /// The tag or the digest.
    pub reference: Reference,
    /// The oldest revision of the account that is taken; `None` takes any.
    pub not_before: Option<Tid>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A record's proof, as the account's server gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEvidence {
    /// The record's key.
    pub rkey: RecordKey,
    /// The CAR.
    pub proof: Bytes,
}

/// What proves an image. None of it is believed before it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The proof of the tag's record, for an image that is named by tag.
    pub tag: Option<RecordEvidence>,
    /// The proof of the manifest's record.
    pub manifest: RecordEvidence,
    /// The manifest.
    pub bytes: Bytes,
}

/// A record, and the signed state of the account that it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The record's address.
    pub uri: String,
    /// The record's CID.
    pub cid: Cid,
    /// The CID of the signed commit.
    pub commit: Cid,
    /// The commit's revision.
    pub rev: Tid,
}

impl Statement {
    fn of<R>(did: &Did, path: &str, proven: &ProvenRecord<R>) -> Self {
        Self {
            uri: format!("at://{did}/{path}"),
            cid: proven.cid,
            commit: proven.commit,
            rev: proven.rev.clone(),
        }
    }

    /// When the account signed that state, as its server's clock had it: the time in the revision.
    #[must_use]
    pub fn signed_at(&self) -> DateTime<Utc> {
        i64::try_from(self.rev.micros())
            .ok()
            .and_then(DateTime::from_timestamp_micros)
            .unwrap_or_default()
    }
}

/// What is proven of an image.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The account that signed.
    pub did: Did,
    /// The handle that its document claims; nobody has confirmed it here.
    pub claimed_handle: Option<Handle>,
    /// The account's key that signed.
    pub key: PublicKey,
    /// The repository.
    pub repository: String,
    /// The tag, its record, and when it was moved as the record says; `None` for an image that was named by digest.
    pub tag: Option<(Tag, Statement, Option<Datetime>)>,
    /// The digest of the manifest's bytes.
    pub digest: Digest,
    /// The manifest's media type, as the record says.
    pub media_type: String,
    /// The manifest's record.
    pub manifest: Statement,
    /// When the manifest's record was written, as it says itself.
    pub created_at: Datetime,
    /// The hold that has the blobs, as the record says.
    pub hold: Option<Did>,
}

/// Checks everything that `evidence` is to prove, given the account's DID document.
///
/// # Errors
/// [`Refusal`]
pub fn verify(document: &DidDocument, expected: &Expected, evidence: &Evidence) -> Result<Verdict, Refusal> {
    let did = document.id();
    let (digest, tag) = match (&expected.reference, &evidence.tag) {
        (Reference::Digest(digest), _) => (digest.clone(), None),
        (Reference::Tag(name), Some(found)) => {
            let (digest, proven) = tag_record(document, expected, name, found)?;
            let statement = Statement::of(did, &tag_path(&found.rkey), &proven);
            let moved_at = proven.value.moved_at().cloned();
            (digest, Some((name.clone(), statement, moved_at)))
        }
        (Reference::Tag(_), None) => return Err(Refusal::Malformed("the tag's record is not in it")),
    };
    let proven = manifest_record(document, expected, &digest, &evidence.manifest)?;
    let is_blob = |blob: &atcr_atproto::lexicon::BlobRef| blob.cid == cid_of(RAW, &evidence.bytes);
    if !digest.matches(&evidence.bytes) || !proven.value.manifest_blob.as_ref().is_none_or(is_blob) {
        return Err(Refusal::BytesDiffer(digest));
    }
    Ok(Verdict {
        did: did.clone(),
        claimed_handle: document.claimed_handle(),
        repository: expected.repository.clone(),
        tag,
        digest,
        manifest: Statement::of(did, &manifest_path(&evidence.manifest.rkey), &proven),
        hold: proven.value.hold(),
        media_type: proven.value.media_type,
        created_at: proven.value.created_at,
        key: proven.key,
    })
}

/// The keys under which the record of a tag may be, in the order in which they are looked at.
pub(super) fn tag_keys(repository: &str, name: &Tag) -> Vec<RecordKey> {
    let keys = [
        tag::rkey(repository, name.as_str()),
        tag::rkey_beside(repository, name.as_str()),
    ];
    keys.into_iter().flatten().collect()
}

/// The keys under which the record of a manifest may be, in the order in which they are looked at.
pub(super) fn manifest_keys(repository: &str, digest: &Digest) -> Vec<RecordKey> {
    let keys = [
        manifest::rkey(digest.as_str()),
        manifest::rkey_in_repository(digest.as_str(), repository),
    ];
    keys.into_iter().flatten().collect()
}

fn tag_path(rkey: &RecordKey) -> String {
    format!("{}/{rkey}", TagRecord::NSID)
}

fn manifest_path(rkey: &RecordKey) -> String {
    format!("{}/{rkey}", ManifestRecord::NSID)
}

fn claim<'a>(document: &'a DidDocument, expected: &'a Expected, rkey: &'a RecordKey) -> RecordClaim<'a> {
    RecordClaim {
        document,
        rkey,
        not_before: expected.not_before.as_ref(),
        now: expected.now,
    }
}

/// The record of the tag, and the digest that it points at.
pub(super) fn tag_record(
    document: &DidDocument,
    expected: &Expected,
    name: &Tag,
    evidence: &RecordEvidence,
) -> Result<(Digest, ProvenRecord<TagRecord>), Refusal> {
    let path = tag_path(&evidence.rkey);
    let repository = &expected.repository;
    if !tag_keys(repository, name).contains(&evidence.rkey) {
        return Err(Refusal::AnotherKey { path });
    }
    let proven: ProvenRecord<TagRecord> =
        record(&evidence.proof, &claim(document, expected, &evidence.rkey))?;
    if proven.value.repository != *repository || proven.value.tag != name.as_str() {
        return Err(Refusal::AnotherImage {
            path,
            found: shortened(&format!("{}:{}", proven.value.repository, proven.value.tag)),
            expected: format!("{repository}:{name}"),
        });
    }
    let digest = proven.value.digest().and_then(|digest| digest.parse().ok());
    match digest {
        Some(digest) => Ok((digest, proven)),
        None => Err(Refusal::RecordMalformed {
            path,
            reason: "it points at no manifest".to_owned(),
        }),
    }
}

/// The record of the manifest `digest`.
pub(super) fn manifest_record(
    document: &DidDocument,
    expected: &Expected,
    digest: &Digest,
    evidence: &RecordEvidence,
) -> Result<ProvenRecord<ManifestRecord>, Refusal> {
    let path = manifest_path(&evidence.rkey);
    let repository = &expected.repository;
    if !manifest_keys(repository, digest).contains(&evidence.rkey) {
        return Err(Refusal::AnotherKey { path });
    }
    let proven: ProvenRecord<ManifestRecord> =
        record(&evidence.proof, &claim(document, expected, &evidence.rkey))?;
    if proven.value.repository != *repository || proven.value.digest != digest.as_str() {
        return Err(Refusal::AnotherImage {
            path,
            found: shortened(&format!("{}@{}", proven.value.repository, proven.value.digest)),
            expected: format!("{repository}@{digest}"),
        });
    }
    if proven.value.media_type.len() > MAX_MEDIA_TYPE_BYTES {
        return Err(Refusal::RecordMalformed {
            path,
            reason: "its media type is too long".to_owned(),
        });
    }
    Ok(proven)
}
