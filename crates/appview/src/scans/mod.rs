//! What scans found, for pages: counts from the index, everything else from the hold.
//!
//! - [`Scans`]: asks, with little patience, and remembers documents
//! - [`Download`]: a document on its way to a client
//! - [`ScanSource`]: the port to holds
//! - [`Findings`], [`Packages`]: a report and a bill of materials, reduced to what pages show
//! - [`FindingChanges`], [`PackageChanges`]: what changes in them between two images
//!
//! The pages tell four cases apart: the hold does not answer, the visitor may not ask it, it has no scanner, the image waits for one.
//! None of them is shown as "no vulnerabilities".

mod bounded;
mod compare;
mod document;
mod findings;
mod packages;
mod reader;
mod text;

use async_trait::async_trait;
use atcr_atproto::syntax::Cid;
use atcr_index::view::ScanView as IndexedScan;
use atcr_oci::Digest;
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::HoldRef;
use atcr_scan_protocol::{DocumentKind, ScanView as HoldView};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use secrecy::SecretString;

pub use compare::{FindingChanges, PackageChange, PackageChanges};
pub use document::{Download, Sending};
pub use findings::{Finding, Findings, Fix, Severity};
pub use packages::{Package, Packages};
pub use reader::Scans;
pub use text::clean;

/// Longest document that pages read, in bytes: 20,000 packages.
pub const MAX_READ: usize = 32 * 1024 * 1024;

/// What a remembered document costs besides its entries: an empty one is not free.
const BASE_WEIGHT: usize = 1024;

/// A document that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document cannot be read")]
pub struct Unreadable;

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DocumentPlace {
    /// A blob of the hold's own records.
    Record(Cid),
    /// Beside the hold's records, for readers of the image: named by a view that the hold gave to the visitor.
    Beside {
        /// The image.
        digest: Digest,
        /// Which document.
        kind: DocumentKind,
        /// The hash of its bytes.
        cid: Cid,
    },
}

impl DocumentPlace {
    fn cid(&self) -> &Cid {
        match self {
            Self::Record(cid) | Self::Beside { cid, .. } => cid,
        }
    }
}

/// Port: holds, about scans.
#[async_trait]
pub trait ScanSource: Send + Sync {
    /// What the hold says of the scan of an image; `None` from a hold that has no such answer.
    ///
    /// # Errors
    /// [`HoldError`], as in every method here.
    async fn view(
        &self,
        hold: &HoldRef,
        token: Option<&SecretString>,
        digest: &Digest,
    ) -> Result<Option<HoldView>, HoldError>;

    /// Begins to read a document. The caller takes the bytes, with its own patience and up to its own bound.
    async fn document(
        &self,
        hold: &HoldRef,
        token: Option<&SecretString>,
        place: &DocumentPlace,
    ) -> Result<OpenDocument, HoldError>;
}

/// A document that a hold begins to send.
pub struct OpenDocument {
    /// How long it is, as the hold says.
    pub length: Option<u64>,
    /// Its bytes.
    pub bytes: BoxStream<'static, Result<Bytes, HoldError>>,
}

impl std::fmt::Debug for OpenDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("OpenDocument");
        shown.field("length", &self.length).finish_non_exhaustive()
    }
}

/// Why a hold says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It does not answer, or not in time.
    NoAnswer,
    /// It answers members only, and the visitor is none.
    MembersOnly,
    /// It asks who the visitor is, and the visitor's account server does not say it.
    NoToken,
    /// Its answer makes no sense.
    Nonsense,
}

/// What a hold said.
#[derive(Clone, Debug)]
pub enum HoldWord {
    /// All it knows.
    Said(Box<HoldView>),
    /// It has no answer of this kind: another program.
    HasNone,
    /// Nothing.
    Silent(Silence),
}

/// Why a document is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoDocument {
    /// There is none.
    None,
    /// The hold does not give it.
    Silent(Silence),
    /// It is too long for a page.
    TooLong,
    /// It is not what its hash says, or no such document.
    Unreadable,
    /// This server reads as many as it can.
    Busy,
    /// Another visitor's request reads the same document, and has not ended.
    BeingRead,
}

/// The place of a document: what the hold says now, else what its record says.
#[must_use]
pub fn place(
    word: &HoldWord,
    indexed: Option<&IndexedScan>,
    digest: &Digest,
    kind: DocumentKind,
) -> Option<DocumentPlace> {
    if let HoldWord::Said(view) = word
        && let Some(result) = &view.result
    {
        let document = result.documents.get(kind.as_str())?;
        return Some(DocumentPlace::Beside {
            digest: digest.clone(),
            kind,
            cid: document.cid.parse().ok()?,
        });
    }
    let indexed = indexed?;
    let cid = match kind {
        DocumentKind::Sbom => indexed.sbom,
        DocumentKind::VulnReport => indexed.report,
        DocumentKind::SbomSyft | DocumentKind::SbomCyclonedx => None,
    };
    cid.map(DocumentPlace::Record)
}
