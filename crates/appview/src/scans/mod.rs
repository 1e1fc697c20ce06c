//! What scans found, for pages: counts from the index, everything else from the hold.
//!
//! - [`Scans`]: asks, with little patience, and remembers documents by their hash
//! - [`ScanSource`]: the port to holds
//! - [`Findings`], [`Packages`]: a report and a bill of materials, reduced to what pages show
//!
//! The pages tell four cases apart: the hold does not answer, the visitor may not ask it, it has no scanner, the image waits for one.
//! None of them is shown as "no vulnerabilities".

mod bounded;
mod findings;
mod packages;
mod text;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use atcr_atproto::data_model::{RAW, cid_of_sha256};
use atcr_atproto::syntax::{Cid, Did};
use atcr_auth::principal::Principal;
use atcr_index::view::ScanView as IndexedScan;
use atcr_oci::Digest;
use atcr_registry::hold::credentials::{CallError, HoldAccess};
use atcr_registry::hold::error::HoldError;
use atcr_registry::hold::ports::{HoldDirectory, HoldRef};
use atcr_scan_protocol::{DocumentKind, ScanView as HoldView};
use bytes::Bytes;
use moka::sync::Cache;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

pub use findings::{Finding, Findings, Fix, Severity};
pub use packages::{Package, Packages};
pub use text::clean;

/// How long a page waits for what a hold says.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it waits for a document.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(20);
/// Longest document that pages read, in bytes: 20,000 packages.
pub const MAX_READ: usize = 32 * 1024 * 1024;
/// Documents that are read at once: each is in memory.
const READ_AT_ONCE: usize = 2;
/// Bytes of documents that are remembered.
const REMEMBERED_BYTES: u64 = 64 * 1024 * 1024;

/// A document that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document cannot be read")]
pub struct Unreadable;

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentPlace {
    /// A blob of the hold's own records.
    Record(Cid),
    /// Beside the hold's records, for readers of the image.
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

    /// The bytes of a document, at most `max_bytes`.
    async fn document(
        &self,
        hold: &HoldRef,
        token: Option<&SecretString>,
        place: &DocumentPlace,
        max_bytes: usize,
    ) -> Result<Bytes, HoldError>;
}

/// Why a hold says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It does not answer, or not in time.
    NoAnswer,
    /// It answers members only, and the visitor is none.
    MembersOnly,
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
}

/// Asks holds about scans.
pub struct Scans {
    source: Arc<dyn ScanSource>,
    directory: Arc<dyn HoldDirectory>,
    access: HoldAccess,
    reading: Semaphore,
    findings: Cache<Cid, Arc<Findings>>,
    packages: Cache<Cid, Arc<Packages>>,
}

impl std::fmt::Debug for Scans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scans").finish_non_exhaustive()
    }
}

impl Scans {
    /// Asks `source`, where `directory` says, with the tokens of `access`.
    #[must_use]
    pub fn new(source: Arc<dyn ScanSource>, directory: Arc<dyn HoldDirectory>, access: HoldAccess) -> Self {
        Self {
            source,
            directory,
            access,
            reading: Semaphore::new(READ_AT_ONCE),
            findings: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .weigher(|_, findings: &Arc<Findings>| findings.weight())
                .build(),
            packages: Cache::builder()
                .max_capacity(REMEMBERED_BYTES)
                .weigher(|_, packages: &Arc<Packages>| packages.weight())
                .build(),
        }
    }

    /// What `hold` says to `visitor` of the scan of an image.
    pub async fn ask(&self, visitor: &Principal, hold: &Did, digest: &Digest) -> HoldWord {
        let asking = async {
            let hold = self
                .directory
                .resolve(hold)
                .await
                .map_err(|_| Silence::NoAnswer)?;
            let call =
                async |token: Option<SecretString>| self.source.view(&hold, token.as_ref(), digest).await;
            let answer = self.access.read(visitor, &hold, call).await;
            answer.map_err(|error| silence(&error))
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Some(view))) if view.digest == *digest => HoldWord::Said(Box::new(view)),
            Ok(Ok(Some(_))) => HoldWord::Silent(Silence::Nonsense),
            Ok(Ok(None)) => HoldWord::HasNone,
            Ok(Err(silence)) => HoldWord::Silent(silence),
            Err(_) => HoldWord::Silent(Silence::NoAnswer),
        }
    }

    /// The findings in the document at `place`.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn findings(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<Arc<Findings>, NoDocument> {
        // Who may see the view that named it, may see the document.
        if let Some(found) = self.findings.get(place.cid()) {
            return Ok(found);
        }
        let bytes = self.read(visitor, hold, place).await?;
        let parsed = parse(bytes, Findings::parse).await?;
        self.findings.insert(*place.cid(), Arc::clone(&parsed));
        Ok(parsed)
    }

    /// The packages in the document at `place`.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn packages(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<Arc<Packages>, NoDocument> {
        if let Some(found) = self.packages.get(place.cid()) {
            return Ok(found);
        }
        let bytes = self.read(visitor, hold, place).await?;
        let parsed = parse(bytes, Packages::parse).await?;
        self.packages.insert(*place.cid(), Arc::clone(&parsed));
        Ok(parsed)
    }

    /// The bytes of the document at `place`, which hash to what names it.
    ///
    /// # Errors
    /// [`NoDocument`].
    pub async fn read(
        &self,
        visitor: &Principal,
        hold: &Did,
        place: &DocumentPlace,
    ) -> Result<Bytes, NoDocument> {
        let reading = async {
            let _turn = self.reading.acquire().await.map_err(|_| NoDocument::Busy)?;
            let silent = NoDocument::Silent;
            let hold = self.directory.resolve(hold).await;
            let hold = hold.map_err(|_| silent(Silence::NoAnswer))?;
            let call = async |token: Option<SecretString>| {
                self.source.document(&hold, token.as_ref(), place, MAX_READ).await
            };
            match self.access.read(visitor, &hold, call).await {
                Ok(bytes) if bytes.len() > MAX_READ => Err(NoDocument::TooLong),
                Ok(bytes) => Ok(bytes),
                Err(CallError::Hold(HoldError::BlobNotFound)) => Err(NoDocument::None),
                Err(error) => Err(silent(silence(&error))),
            }
        };
        let bytes = tokio::time::timeout(DOCUMENT_PATIENCE, reading)
            .await
            .unwrap_or(Err(NoDocument::Silent(Silence::NoAnswer)))?;
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        if cid_of_sha256(RAW, &hash) != *place.cid() {
            tracing::info!(hold = %hold, "a document of a scan is not what its hash says");
            return Err(NoDocument::Unreadable);
        }
        Ok(bytes)
    }
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

fn silence(error: &CallError) -> Silence {
    match error {
        CallError::Token(_)
        | CallError::Hold(HoldError::Unauthorized | HoldError::Forbidden { .. } | HoldError::UrlRefused) => {
            Silence::MembersOnly
        }
        CallError::Hold(HoldError::Malformed { .. }) => Silence::Nonsense,
        CallError::Hold(_) => Silence::NoAnswer,
    }
}

/// Long documents take as long as tasks must not.
async fn parse<T: Send + 'static>(
    bytes: Bytes,
    parse: fn(&[u8]) -> Result<T, Unreadable>,
) -> Result<Arc<T>, NoDocument> {
    let parsed = tokio::task::spawn_blocking(move || parse(&bytes)).await;
    match parsed {
        Ok(Ok(parsed)) => Ok(Arc::new(parsed)),
        Ok(Err(Unreadable)) | Err(_) => Err(NoDocument::Unreadable),
    }
}
