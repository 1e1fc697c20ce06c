//! An image whose scan a page is about: what the index and its hold say of it, and where its documents are.

use std::sync::Arc;

use atcr_atproto::syntax::{AtIdentifier, Did};
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_index::view::{RepositoryId, ScanView as IndexedScan};
use atcr_oci::Digest;
use atcr_scan_protocol::DocumentKind;
use atcr_web::navigation::address;

use super::super::visit::Visit;
use super::HoldName;
use super::scan_words::{ScanWords, why_not};
use super::views::platform_rows;
use crate::browse::{Browse, BrowseError, Owner};
use crate::edge::dialect::page::PageError;
use crate::scans::{DocumentPlace, Findings, HoldWord, Packages, place};
use crate::state::AppState;

/// Where a page finds what is known of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) struct ScanLinks {
    /// A few words, for lists.
    pub(in crate::edge::pages) badge: String,
    /// The late part.
    pub(in crate::edge::pages) result: String,
    /// The page with everything.
    pub(in crate::edge::pages) details: String,
    /// The bill of materials.
    pub(in crate::edge::pages) sbom: String,
    /// The platform that is meant, of an image for several.
    pub(in crate::edge::pages) platform: Option<String>,
}

impl ScanLinks {
    pub(super) fn new(owner: &str, repository: &str, digest: &Digest) -> Self {
        Self::of(owner, repository, ("digest", digest.as_str()))
    }

    /// Of the image that `tag` names when they are followed; of several platforms, the first.
    pub(super) fn of_tag(owner: &str, repository: &str, tag: &str) -> Self {
        Self::of(owner, repository, ("tag", tag))
    }

    /// The same, of the image for `platform`, one of several.
    pub(super) fn for_platform(self, platform: Option<String>) -> Self {
        Self { platform, ..self }
    }

    fn of(owner: &str, repository: &str, image: (&str, &str)) -> Self {
        let of = |path: &str| address(path, &[("owner", owner), ("repository", repository), image]);
        Self {
            badge: of("/api/scan-badge"),
            result: of("/api/scan-result"),
            details: of("/api/vuln-details"),
            sbom: of("/api/sbom"),
            platform: None,
        }
    }
}

/// Whom holds are asked for: the browser's account.
pub(super) fn principal(visit: &Visit) -> Principal {
    super::visitor(visit).map_or(Principal::Anonymous, |did| Principal::Sailor {
        did: did.clone(),
        auth_method: AuthMethod::OAuth,
    })
}

/// An image, and what is known of its scan.
pub(super) struct Subject {
    pub(super) owner: Owner,
    pub(super) repository: String,
    pub(super) digest: Digest,
    pub(super) hold: Option<HoldName>,
    /// The hold of `indexed`, where that is another.
    publisher: Option<HoldName>,
    indexed: Option<IndexedScan>,
    pub(super) word: HoldWord,
    pub(super) words: ScanWords,
}

/// When the hold is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Always: it knows more than it publishes.
    Always,
    /// Only where the index has no result: for lists, in which one image is one of many.
    WhereNothingIsPublished,
}

/// The image that `tag` names: of several platforms, the first.
async fn named(browse: &Browse, repository: RepositoryId, tag: &str) -> Result<Option<Digest>, PageError> {
    let tag = browse
        .index
        .tag(repository, tag)
        .await
        .map_err(BrowseError::from)?;
    let Some(tag) = tag else { return Ok(None) };
    let platforms = tag.manifest.map(|summary| platform_rows("", &summary.children));
    let first = platforms.and_then(|rows| rows.into_iter().next());
    Ok(first.and_then(|row| row.digest.whole.parse().ok()).or(tag.digest))
}

/// Where a document is.
pub(super) struct Placed<'a> {
    hold: &'a HoldName,
    pub(super) did: Did,
    pub(super) place: DocumentPlace,
}

impl Subject {
    /// The image that `owner`, `repository` and `digest` or `tag` of the address name, each with `prefix` before it.
    pub(super) async fn find(
        visit: &Visit,
        asker: &Principal,
        state: &AppState,
        prefix: &str,
        asking: Asking,
    ) -> Result<Self, PageError> {
        let field = |name: &str| visit.query().get(&format!("{prefix}{name}"));
        let asked = field("owner").or_else(|| field("did")).unwrap_or_default();
        let repository = field("repository").unwrap_or_default().to_owned();
        let identifier: AtIdentifier = asked.parse().map_err(|_| PageError::NotFound)?;
        let browse = &state.browse;
        let owner = browse.owner(&identifier).await?;
        let found = browse.repository(&owner, &repository).await?;
        let index = &browse.index;
        let missing = |reference: &str| BrowseError::NoImage {
            owner: owner.name(),
            repository: repository.clone(),
            reference: reference.to_owned(),
        };
        let digest = match field("tag") {
            Some(tag) => named(browse, found.card.id, tag)
                .await?
                .ok_or_else(|| missing(tag))?,
            None => {
                let digest = field("digest").unwrap_or_default();
                digest.parse().map_err(|_| PageError::NotFound)?
            }
        };
        // The hold is asked only about an image that a record names, so a made-up digest costs no request.
        let manifest = index.manifest(found.card.id, &digest).await;
        let manifest = manifest
            .map_err(BrowseError::from)?
            .ok_or_else(|| missing(digest.as_str()))?;
        let scans = index
            .scans(&owner.identity.did, &digest)
            .await
            .map_err(BrowseError::from)?;
        // They are the newest first. That of the hold which has the image now says most.
        let is_of_hold = |scan: &IndexedScan| Some(&scan.hold) == manifest.hold.as_ref();
        let indexed = scans
            .iter()
            .find(|scan| is_of_hold(scan))
            .or(scans.first())
            .cloned();
        let hold = manifest
            .hold
            .or_else(|| indexed.as_ref().map(|scan| scan.hold.clone()));
        let (hold, word) = match hold {
            Some(hold) => {
                let view = index.hold(&hold).await.map_err(BrowseError::from)?;
                let word = match asking {
                    Asking::WhereNothingIsPublished if indexed.is_some() => HoldWord::HasNone,
                    _ => state.scans.ask(asker, &hold, &digest).await,
                };
                (Some(HoldName::of(&hold, view.as_ref())), word)
            }
            None => (None, HoldWord::HasNone),
        };
        let publisher = match (&indexed, &hold) {
            (Some(scan), Some(hold)) if scan.hold.as_str() != hold.did => {
                let view = index.hold(&scan.hold).await.map_err(BrowseError::from)?;
                Some(HoldName::of(&scan.hold, view.as_ref()))
            }
            _ => None,
        };
        let name = hold.as_ref().map_or("The hold", |hold| hold.name.as_str());
        let publisher_name = publisher.as_ref().map(|hold| hold.name.as_str());
        Ok(Self {
            words: ScanWords::of(&word, indexed.as_ref(), name, publisher_name, browse.clock.now()),
            publisher,
            owner,
            repository,
            digest,
            hold,
            indexed,
            word,
        })
    }

    /// The hold whose result is shown; `None` without one.
    pub(super) fn scanned_by(&self) -> Option<&HoldName> {
        if self.words.verdict.sentence().is_some() {
            return None;
        }
        match &self.word {
            HoldWord::Said(view) if view.result.is_some() => self.hold.as_ref(),
            _ => self.publisher.as_ref().or(self.hold.as_ref()),
        }
    }

    /// The document, and the hold that has it.
    pub(super) fn place(&self, kind: DocumentKind) -> Option<Placed<'_>> {
        let place = place(&self.word, self.indexed.as_ref(), &self.digest, kind)?;
        let hold = match &place {
            // A record's blobs are where the record is.
            DocumentPlace::Record(_) => self.publisher.as_ref().or(self.hold.as_ref()),
            DocumentPlace::Beside { .. } => self.hold.as_ref(),
        }?;
        let did = hold.did.parse().ok()?;
        Some(Placed { hold, did, place })
    }

    /// The findings of the image, or why they are not shown.
    pub(super) async fn findings(
        &self,
        asker: &Principal,
        state: &AppState,
    ) -> Result<Arc<Findings>, String> {
        let placed = self.place(DocumentKind::VulnReport);
        let Placed { hold, did, place } = placed.ok_or_else(|| self.missing("report of vulnerabilities"))?;
        let read = state.scans.findings(asker, &did, &place).await;
        read.map_err(|error| why_not(&error, &hold.name))
    }

    /// Its packages, or why they are not shown.
    pub(super) async fn packages(
        &self,
        asker: &Principal,
        state: &AppState,
    ) -> Result<Arc<Packages>, String> {
        let placed = self.place(DocumentKind::Sbom);
        let Placed { hold, did, place } = placed.ok_or_else(|| self.missing("list of packages"))?;
        let read = state.scans.packages(asker, &did, &place).await;
        read.map_err(|error| why_not(&error, &hold.name))
    }

    fn missing(&self, what: &str) -> String {
        match self.words.verdict.sentence() {
            None => format!("The scan has no {what}."),
            Some(_) => "There is no scan of this image.".to_owned(),
        }
    }

    pub(super) fn links(&self) -> ScanLinks {
        ScanLinks::new(&self.owner.name(), &self.repository, &self.digest)
    }
}
