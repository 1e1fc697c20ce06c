//! Which records are fetched to prove an image.

use std::future::Future;

use atcr_atproto::identity::DidDocument;
use atcr_atproto::lexicon::nsid;
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_oci::Reference;
use bytes::Bytes;

use super::image::{manifest_keys, manifest_record, tag_keys, tag_record};
use super::{Evidence, Expected, RecordEvidence, Refusal};

/// Port: the account's own server.
pub trait EvidenceSource: Send + Sync {
    /// Why it gave nothing.
    type Error: Send;

    /// The proof of the record, or of its absence; `None` if the server says without a proof that there is no such record.
    ///
    /// # Errors
    /// The server's.
    fn record_proof(
        &self,
        did: &Did,
        collection: &str,
        rkey: &RecordKey,
    ) -> impl Future<Output = Result<Option<Bytes>, Self::Error>> + Send;

    /// The bytes of a manifest, a blob of the account.
    ///
    /// # Errors
    /// The server's.
    fn manifest_bytes(&self, did: &Did, cid: &Cid)
    -> impl Future<Output = Result<Bytes, Self::Error>> + Send;
}

/// Why there is no evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatherError<E> {
    /// What came proves that the image is not what was asked, or proves nothing.
    Refused(Refusal),
    /// The server gave no answer.
    Source(E),
}

impl<E> From<Refusal> for GatherError<E> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Fetches what [`verify`](super::verify) needs: the proof of the tag's record, of the manifest's, and the manifest's bytes. Two to five
/// requests. What decides about the next one is verified on the way; the whole is for `verify`.
///
/// # Errors
/// [`GatherError`]
pub async fn gather<S: EvidenceSource>(
    source: &S,
    document: &DidDocument,
    expected: &Expected,
) -> Result<Evidence, GatherError<S::Error>> {
    let did = document.id();
    let repository = &expected.repository;
    let (digest, tag) = match &expected.reference {
        Reference::Digest(digest) => (digest.clone(), None),
        Reference::Tag(name) => {
            let keys = tag_keys(repository, name);
            let ((digest, _), evidence) = first(source, did, nsid::TAG, keys, |evidence| {
                tag_record(document, expected, name, evidence)
            })
            .await?;
            (digest, Some(evidence))
        }
    };
    let keys = manifest_keys(repository, &digest);
    let (proven, manifest) = first(source, did, nsid::MANIFEST, keys, |evidence| {
        manifest_record(document, expected, &digest, evidence)
    })
    .await?;
    let Some(blob) = &proven.value.manifest_blob else {
        return Err(Refusal::NoBytes {
            path: format!("{}/{}", nsid::MANIFEST, manifest.rkey),
        }
        .into());
    };
    let bytes = source.manifest_bytes(did, &blob.cid).await;
    Ok(Evidence {
        tag,
        manifest,
        bytes: bytes.map_err(GatherError::Source)?,
    })
}

/// The first record under `keys` that `check` takes. The refusal of the first key is the one that is told.
async fn first<S: EvidenceSource, T>(
    source: &S,
    did: &Did,
    collection: &str,
    keys: Vec<RecordKey>,
    check: impl Fn(&RecordEvidence) -> Result<T, Refusal>,
) -> Result<(T, RecordEvidence), GatherError<S::Error>> {
    let mut refused = None;
    for rkey in keys {
        let found = source
            .record_proof(did, collection, &rkey)
            .await
            .map_err(GatherError::Source)?;
        let refusal = match found {
            None => Refusal::NoSuchRecord {
                path: format!("{collection}/{rkey}"),
            },
            Some(proof) => {
                let evidence = RecordEvidence { rkey, proof };
                match check(&evidence) {
                    Ok(proven) => return Ok((proven, evidence)),
                    Err(refusal) => refusal,
                }
            }
        };
        if !refusal.is_elsewhere() {
            return Err(refusal.into());
        }
        refused.get_or_insert(refusal);
    }
    Err(refused
        .unwrap_or(Refusal::Malformed("the image's name has no record key"))
        .into())
}
