//! Which images of an account have a vulnerability or a package: looked for in what scans of them found, as far as the account may read it.
//!
//! A search reads a bounded number of documents, in a bounded time; what it did not look at is a part of the answer, and never "not affected".

mod images;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use atcr_atproto::syntax::Did;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_index::ports::IndexReader;
use atcr_index::view::ScanView as IndexedScan;
use atcr_scan_protocol::DocumentKind;
use atcr_server::shared_places::SharedPlaces;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use crate::browse::BrowseError;
use crate::scans::{
    DocumentPlace, Finding, Fix, HoldWord, NoDocument, Package, Scans, Severity, Silence, place,
};

pub use images::Image;
pub use wanted::{Wanted, WantedError};

/// Images that one search looks at: those of the newest tags.
pub const MOST_IMAGES: usize = 100;
/// Images that are looked at at once. A hold reads one long document at a time for us.
const AT_ONCE: usize = 4;
/// How long a search takes at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// Findings or packages of one image that are told.
const MOST_HITS: usize = 20;
/// Searches at once; an account has one.
const SEARCHES: usize = 8;

/// Searches the images of accounts.
pub struct Affected {
    index: Arc<dyn IndexReader>,
    scans: Arc<Scans>,
    places: SharedPlaces,
}

impl std::fmt::Debug for Affected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Affected").finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The account's last search goes on, or too many of others do.
    #[error("a search is under way")]
    Busy,
    /// The index failed.
    #[error(transparent)]
    Browse(#[from] BrowseError),
}

/// What was found in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hits {
    /// Vulnerabilities, those that can be acted on first.
    Findings(Vec<Finding>),
    /// Packages, by name.
    Packages(Vec<Package>),
}

/// An image that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedImage {
    /// The image.
    pub image: Image,
    /// What it has, at most 20.
    pub hits: Hits,
    /// How many more.
    pub more: usize,
}

/// Why an image may have it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// There is no result of a scan, or none with what was looked for.
    NotScanned,
    /// The hold does not answer.
    NoAnswer,
    /// The hold answers others only.
    MembersOnly,
    /// The document cannot be read here.
    Unreadable,
    /// The document was read in part: it is too long.
    ReadInPart,
    /// The time was over before.
    NoTime,
}

/// The answer to a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Images that have it; what can be acted on first, then what is worst.
    pub affected: Vec<AffectedImage>,
    /// Images that were looked at to the end.
    pub looked_at: usize,
    /// Images of which it is not known.
    pub unknown: Vec<(Image, Unknown)>,
    /// Images that are no part of the search: there are more than one looks at.
    pub is_cut: bool,
}

enum Looked {
    Has(Hits, usize),
    HasNot,
    Unknown(Unknown),
}

impl Affected {
    /// Searches what `index` lists and `scans` reads.
    #[must_use]
    pub fn new(index: Arc<dyn IndexReader>, scans: Arc<Scans>) -> Self {
        Self {
            index,
            scans,
            places: SharedPlaces::new(SEARCHES, 1),
        }
    }

    /// The images of `account` that have `wanted`, as far as the account itself may know.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn search(&self, account: &Did, wanted: &Wanted) -> Result<Answer, SearchError> {
        let _place = self
            .places
            .try_acquire(account.as_str())
            .ok_or(SearchError::Busy)?;
        let (images, is_cut) = images::of(&*self.index, account)
            .await
            .map_err(BrowseError::from)?;
        let deadline = Instant::now() + PATIENCE;
        let looking = images.into_iter().map(|image| async move {
            let looked = timeout_at(deadline, self.look(account, &image, wanted)).await;
            (image, looked.unwrap_or(Ok(Looked::Unknown(Unknown::NoTime))))
        });
        let mut looking = stream::iter(looking).buffered(AT_ONCE);
        let mut answer = Answer {
            is_cut,
            ..Answer::default()
        };
        while let Some((image, looked)) = looking.next().await {
            match looked? {
                Looked::Has(hits, more) => {
                    answer.looked_at += 1;
                    answer.affected.push(AffectedImage { image, hits, more });
                }
                Looked::HasNot => answer.looked_at += 1,
                Looked::Unknown(why) => answer.unknown.push((image, why)),
            }
        }
        answer
            .affected
            .sort_by_key(|affected| std::cmp::Reverse(urgency(&affected.hits)));
        Ok(answer)
    }

    async fn look(&self, account: &Did, image: &Image, wanted: &Wanted) -> Result<Looked, BrowseError> {
        let index = &self.index;
        let Some(manifest) = index.manifest(image.repository_id, &image.digest).await? else {
            return Ok(Looked::Unknown(Unknown::NotScanned));
        };
        let scans = index.scans(account, &image.digest).await?;
        let is_of_hold = |scan: &&IndexedScan| Some(&scan.hold) == manifest.hold.as_ref();
        let indexed = scans.iter().find(is_of_hold).or(scans.first());
        let asker = Principal::Sailor {
            did: account.clone(),
            auth_method: AuthMethod::OAuth,
        };
        let hold = manifest.hold.as_ref().or(indexed.map(|scan| &scan.hold));
        let Some(hold) = hold else {
            return Ok(Looked::Unknown(Unknown::NotScanned));
        };
        let word = self.scans.ask(&asker, hold, &image.digest).await;
        let kind = match wanted {
            Wanted::Vulnerability(_) => DocumentKind::VulnReport,
            Wanted::Package { .. } => DocumentKind::Sbom,
        };
        let Some(place) = place(&word, indexed, &image.digest, kind) else {
            return Ok(Looked::Unknown(silence(&word)));
        };
        let hold = match (&place, indexed) {
            // A record's blobs are where the record is.
            (DocumentPlace::Record(_), Some(scan)) => &scan.hold,
            _ => hold,
        };
        let looked = match wanted {
            Wanted::Vulnerability(_) => {
                let read = self.scans.findings(&asker, hold, &place).await;
                read.map(|found| {
                    let hits = found.all.iter().filter(|finding| wanted.is_finding(finding));
                    of_hits(hits, Hits::Findings, found.left_out)
                })
            }
            Wanted::Package { .. } => {
                let read = self.scans.packages(&asker, hold, &place).await;
                read.map(|listed| {
                    let hits = listed.all.iter().filter(|package| wanted.is_package(package));
                    of_hits(hits, Hits::Packages, listed.left_out)
                })
            }
        };
        Ok(looked.unwrap_or_else(|error| Looked::Unknown(unread(&error))))
    }
}

fn of_hits<'a, T: Clone + 'a>(
    hits: impl Iterator<Item = &'a T>,
    form: fn(Vec<T>) -> Hits,
    left_out: usize,
) -> Looked {
    let mut hits = hits.cloned();
    let told: Vec<T> = hits.by_ref().take(MOST_HITS).collect();
    match (told.is_empty(), left_out) {
        (false, _) => Looked::Has(form(told), hits.count()),
        (true, 0) => Looked::HasNot,
        (true, _) => Looked::Unknown(Unknown::ReadInPart),
    }
}

/// Whether it can be acted on, and how bad it is.
fn urgency(hits: &Hits) -> (bool, Option<Severity>) {
    match hits {
        Hits::Findings(found) => (
            found.iter().any(|finding| matches!(finding.fix, Fix::In(_))),
            found.iter().map(|finding| finding.severity).max(),
        ),
        Hits::Packages(_) => (false, None),
    }
}

fn silence(word: &HoldWord) -> Unknown {
    match word {
        HoldWord::Silent(silence) => silent(silence),
        HoldWord::Said(_) | HoldWord::HasNone => Unknown::NotScanned,
    }
}

const fn silent(silence: &Silence) -> Unknown {
    match silence {
        Silence::NoAnswer => Unknown::NoAnswer,
        Silence::MembersOnly | Silence::NoToken => Unknown::MembersOnly,
        Silence::Nonsense => Unknown::Unreadable,
    }
}

const fn unread(error: &NoDocument) -> Unknown {
    match error {
        NoDocument::None => Unknown::NotScanned,
        NoDocument::Silent(silence) => silent(silence),
        NoDocument::TooLong | NoDocument::Unreadable => Unknown::Unreadable,
        NoDocument::Busy | NoDocument::BeingRead => Unknown::NoTime,
    }
}
