//! Bills of materials as referrers of their images, for tools that look there. No manifest of the owner says so: it is made here of what the
//! hold says of its scan, names the hold as its author, and is known by its digest from the moment that it was listed.

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::data_model::{RAW, cid_of_sha256};
use atcr_atproto::syntax::{Cid, Did};
use atcr_auth::principal::Principal;
use atcr_index::IndexError;
use atcr_index::fact::Kind;
use atcr_index::ports::IndexReader;
use atcr_oci::{Algorithm, Descriptor, Digest, ImageManifest, Manifest, MediaType};
use atcr_scan_protocol::{DocumentKind, DocumentView, ResultView};
use atcr_server::client_address::ClientAddress;
use bytes::Bytes;
use chrono::SecondsFormat;
use moka::sync::Cache;

use crate::scans::{DocumentPlace, Download, HoldWord, MAX_READ, NoDocument, Scans};

/// What the config of something that has none is.
const EMPTY: &[u8] = b"{}";
const EMPTY_BASE64: &str = "e30=";

/// How long a manifest that was listed is known, and how many bytes of them are.
const KNOWN_FOR: Duration = Duration::from_hours(24);
const KNOWN_BYTES: u64 = 16 * 1024 * 1024;

/// The documents that are referrers, and how their files end.
const DOCUMENTS: [(DocumentKind, &str); 2] = [
    (DocumentKind::Sbom, "spdx.json"),
    (DocumentKind::SbomCyclonedx, "cdx.json"),
];

const CREATED: &str = "org.opencontainers.image.created";
const AUTHORS: &str = "org.opencontainers.image.authors";
const DESCRIPTION: &str = "org.opencontainers.image.description";
const TITLE: &str = "org.opencontainers.image.title";

/// Of whom something is known: the account, the repository, the digest.
type Key = (Did, String, Digest);

/// What is known by its digest.
#[derive(Clone, Debug)]
enum Known {
    Manifest(Bytes),
    Document {
        hold: Did,
        place: DocumentPlace,
        size: u64,
    },
    Empty,
}

/// Content that a referrer of this kind has.
#[derive(Debug)]
pub enum Content {
    /// It is here.
    Bytes(Bytes),
    /// It comes from the hold.
    Download(Download),
}

/// Makes and serves the referrers.
pub struct ScanReferrers {
    index: Arc<dyn IndexReader>,
    scans: Arc<Scans>,
    known: Cache<Key, Known>,
}

impl std::fmt::Debug for ScanReferrers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanReferrers").finish_non_exhaustive()
    }
}

impl ScanReferrers {
    /// Referrers of images that `index` has, of what `scans` reads.
    #[must_use]
    pub fn new(index: Arc<dyn IndexReader>, scans: Arc<Scans>) -> Self {
        Self {
            index,
            scans,
            known: Cache::builder()
                .time_to_live(KNOWN_FOR)
                .max_capacity(KNOWN_BYTES)
                .weigher(|_, known: &Known| match known {
                    Known::Manifest(bytes) => {
                        u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(512)
                    }
                    Known::Document { .. } | Known::Empty => 512,
                })
                .build(),
        }
    }

    /// The bills of materials of the image `subject`, as far as its hold tells them to `asker`: those of `artifact_type` if one is given.
    ///
    /// # Errors
    /// The index's. What the hold does not say is no referrer.
    pub async fn list(
        &self,
        asker: &Principal,
        (owner, repository): (&Did, &str),
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, IndexError> {
        let is_wanted = |kind: DocumentKind| artifact_type.is_none_or(|wanted| wanted == kind.media_type());
        if !DOCUMENTS.iter().any(|(kind, _)| is_wanted(*kind)) {
            return Ok(Vec::new());
        }
        let Some(found) = self.index.repository(owner, repository).await? else {
            return Ok(Vec::new());
        };
        let Some(image) = self.index.manifest(found.card.id, subject).await? else {
            return Ok(Vec::new());
        };
        let (Some(hold), Some(size), Kind::Image) = (&image.hold, image.summary.size, image.summary.kind)
        else {
            return Ok(Vec::new());
        };
        let Ok(media_type) = image.summary.media_type.parse() else {
            return Ok(Vec::new());
        };
        let HoldWord::Said(view) = self.scans.ask(asker, hold, subject).await else {
            return Ok(Vec::new());
        };
        let Some(result) = view.result else {
            return Ok(Vec::new());
        };
        let subject = Descriptor::new(media_type, subject.clone(), size);
        let made = DOCUMENTS
            .iter()
            .filter(|(kind, _)| is_wanted(*kind))
            .filter_map(|(kind, ending)| {
                let document = result.documents.get(kind.as_str())?;
                self.referrer(
                    (owner, repository),
                    hold,
                    &subject,
                    &result,
                    (*kind, *ending, document),
                )
            });
        Ok(made.collect())
    }

    /// The referrer for one document, which is known from now on.
    fn referrer(
        &self,
        (owner, repository): (&Did, &str),
        hold: &Did,
        subject: &Descriptor,
        result: &ResultView,
        (kind, ending, document): (DocumentKind, &str, &DocumentView),
    ) -> Option<Descriptor> {
        let cid: Cid = document.cid.parse().ok()?;
        let digest = digest_of(&cid)?;
        // A longer one could not be fetched.
        if document.size > MAX_READ as u64 {
            return None;
        }
        let media_type: MediaType = kind.media_type().parse().ok()?;
        let mut layer = Descriptor::new(media_type, digest.clone(), document.size);
        let short: String = subject.digest.hex().chars().take(12).collect();
        layer
            .annotations
            .insert(TITLE.to_owned(), format!("{short}.{ending}"));
        let empty = Digest::of(Algorithm::Sha256, EMPTY);
        let mut config = Descriptor::new(MediaType::OCI_EMPTY, empty.clone(), EMPTY.len() as u64);
        config.data = Some(EMPTY_BASE64.to_owned());
        let mut image = ImageManifest::new(config, vec![layer]);
        image.artifact_type = Some(kind.media_type().to_owned());
        image.subject = Some(subject.clone());
        image.annotations.extend([
            (
                CREATED.to_owned(),
                result.scanned_at.to_rfc3339_opts(SecondsFormat::Secs, true),
            ),
            (AUTHORS.to_owned(), hold.to_string()),
            (
                DESCRIPTION.to_owned(),
                "Made by the scanner of the hold, not by the owner of the image".to_owned(),
            ),
        ]);
        let manifest = Manifest::from_image(&image).ok()?;
        let bytes = manifest.bytes().clone();
        let made = Digest::of(Algorithm::Sha256, &bytes);
        let place = DocumentPlace::Beside {
            digest: subject.digest.clone(),
            kind,
            cid,
        };
        let descriptor = Descriptor {
            annotations: image.annotations,
            artifact_type: image.artifact_type,
            ..Descriptor::new(MediaType::OCI_IMAGE_MANIFEST, made.clone(), bytes.len() as u64)
        };
        let key = |digest: Digest| (owner.clone(), repository.to_owned(), digest);
        self.known.insert(key(made), Known::Manifest(bytes));
        let document = Known::Document {
            hold: hold.clone(),
            place,
            size: document.size,
        };
        self.known.insert(key(digest), document);
        self.known.insert(key(empty), Known::Empty);
        Some(descriptor)
    }

    /// The manifest of a referrer that was listed.
    #[must_use]
    pub fn manifest(&self, (owner, repository): (&Did, &str), digest: &Digest) -> Option<Bytes> {
        match self
            .known
            .get(&(owner.clone(), repository.to_owned(), digest.clone()))?
        {
            Known::Manifest(bytes) => Some(bytes),
            Known::Document { .. } | Known::Empty => None,
        }
    }

    /// How long what [`content`](Self::content) has is, in bytes.
    #[must_use]
    pub fn size(&self, (owner, repository): (&Did, &str), digest: &Digest) -> Option<u64> {
        match self
            .known
            .get(&(owner.clone(), repository.to_owned(), digest.clone()))?
        {
            Known::Document { size, .. } => Some(size),
            Known::Empty => Some(EMPTY.len() as u64),
            Known::Manifest(_) => None,
        }
    }

    /// What the manifest of a referrer that was listed names, as far as the hold gives it to `asker`; `None` for anything else.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn content(
        &self,
        (asker, client): (&Principal, &ClientAddress),
        (owner, repository): (&Did, &str),
        digest: &Digest,
    ) -> Result<Option<Content>, NoDocument> {
        match self
            .known
            .get(&(owner.clone(), repository.to_owned(), digest.clone()))
        {
            Some(Known::Empty) => Ok(Some(Content::Bytes(Bytes::from_static(EMPTY)))),
            Some(Known::Document { hold, place, .. }) => {
                let download = self.scans.download(asker, client, &hold, &place).await?;
                Ok(Some(Content::Download(download)))
            }
            Some(Known::Manifest(_)) | None => Ok(None),
        }
    }
}

/// The digest of the bytes that `cid` names, if it is the kind that blobs have.
fn digest_of(cid: &Cid) -> Option<Digest> {
    let hash: [u8; 32] = cid.hash().digest().try_into().ok()?;
    if cid_of_sha256(RAW, &hash) != *cid {
        return None;
    }
    Digest::from_hash_bytes(Algorithm::Sha256, &hash)
}
