//! A repository's first page: how do I pull it, is it what I think it is.

use std::sync::LazyLock;

use askama::Template;
use atcr_atproto::syntax::Did;
use atcr_index::change::Proof;
use atcr_index::fact::Kind;
use atcr_index::view::{HoldView, ManifestView, ScanView};
use atcr_web::drawings::{ChartDay, DayChart};
use atcr_web::figures::Count;
use atcr_web::markdown::{self, Rendered};
use atcr_web::moment::Moment;
use atcr_web::pull::{PullCommands, PullTarget};
use atcr_web::view::{Chrome, render};
use axum::response::Response;
use chrono::{DateTime, Days, Utc};
use http::StatusCode;
use moka::sync::Cache;

use super::scan_subject::ScanLinks;
use super::views::{ClaimedLink, ContentView, DigestView, claimed, claimed_link, platform_rows, pullable};
use super::{Head, RepositoryVisit, StarForm};
use crate::browse::BrowseError;
use crate::browse::address::RepositoryPage;
use crate::edge::dialect::page::PageError;

/// Days of the chart of pulls.
const CHART_DAYS: u64 = 90;

/// Rendered READMEs that are remembered, by their length.
const REMEMBERED_BYTES: u64 = 16 * 1024 * 1024;

static READMES: LazyLock<Cache<(String, Option<String>), Rendered>> = LazyLock::new(|| {
    Cache::builder()
        .max_capacity(REMEMBERED_BYTES)
        .weigher(|(text, _): &(String, Option<String>), rendered: &Rendered| {
            u32::try_from(text.len() + rendered.html.len()).unwrap_or(u32::MAX)
        })
        .build()
});

/// How a manifest is known to be its owner's.
#[derive(Clone, Debug)]
pub(super) struct TrustView {
    /// The signature was checked.
    pub(super) is_signed: bool,
    /// `at://…`
    pub(super) record: String,
    /// The CID of the record.
    pub(super) cid: String,
    /// The revision of the account.
    pub(super) rev: Option<String>,
    /// The page that checks the signature.
    pub(super) proof: String,
}

impl TrustView {
    pub(super) fn of(owner: &Did, path: &str, manifest: &ManifestView) -> Self {
        Self {
            is_signed: manifest.proof == Proof::Signed,
            record: format!("at://{owner}/io.atcr.manifest/{}", manifest.rkey),
            cid: manifest.cid.to_string(),
            rev: manifest.rev.as_ref().map(ToString::to_string),
            proof: super::proof::path(path, &manifest.summary.digest),
        }
    }
}

/// A hold, as pages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) struct HoldName {
    /// Its handle or host, or else its DID.
    pub(in crate::edge::pages) name: String,
    pub(in crate::edge::pages) did: String,
    pub(in crate::edge::pages) region: String,
    /// Everyone may read; unknown of a hold without a captain record.
    pub(in crate::edge::pages) is_public: Option<bool>,
}

impl HoldName {
    pub(in crate::edge::pages) fn of(did: &Did, hold: Option<&HoldView>) -> Self {
        let handle = hold
            .and_then(|hold| hold.hold.handle.as_ref())
            .map(ToString::to_string);
        Self {
            name: handle
                .or_else(|| did.web_host())
                .unwrap_or_else(|| did.to_string()),
            did: did.to_string(),
            region: hold.map(|hold| hold.region.clone()).unwrap_or_default(),
            is_public: hold.map(|hold| hold.is_public),
        }
    }
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScanSummary {
    /// `critical`, 2; only those that are there.
    pub(super) found: Vec<(&'static str, u64)>,
    pub(super) scanner: String,
    pub(super) at: Moment,
}

impl ScanSummary {
    pub(super) fn of(scan: &ScanView, now: DateTime<Utc>) -> Self {
        let severities = &scan.severities;
        let named = [
            ("critical", severities.critical),
            ("high", severities.high),
            ("medium", severities.medium),
            ("low", severities.low),
        ];
        let unknown = named
            .iter()
            .fold(severities.total, |left, (_, count)| left.saturating_sub(*count));
        let all = named.into_iter().chain([("unknown", unknown)]);
        Self {
            found: all
                .map(|(name, count)| (name, u64::from(count)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            scanner: scan.scanner.clone(),
            at: Moment::new(scan.scanned_at, now),
        }
    }
}

#[derive(Template)]
#[template(path = "pages/images/overview.html")]
struct OverviewPage {
    chrome: Chrome,
    head: Head,
    /// How to pull; `None` when there is nothing to pull, or no name for it.
    pull: Option<PullCommands>,
    is_private: bool,
    newest: Option<(String, Moment)>,
    digest: Option<DigestView>,
    content: Option<ContentView>,
    trust: Option<TrustView>,
    holds: Vec<HoldName>,
    scan: Option<ScanSummary>,
    scan_links: Option<ScanLinks>,
    is_scannable: bool,
    source: Option<ClaimedLink>,
    documentation: Option<ClaimedLink>,
    homepage: Option<ClaimedLink>,
    licence: Option<String>,
    version: Option<String>,
    revision: Option<String>,
    pulls: Count,
    last_pull: Option<Moment>,
    chart: Option<DayChart>,
    chart_total: Count,
    busy_days: Vec<(String, Count)>,
    readme: Option<Rendered>,
}

impl OverviewPage {
    /// A badge, as Markdown.
    fn badge_markdown(&self) -> String {
        let address = self.chrome.site.url(&self.head.path);
        format!("[![{0}]({address}/-/badge/tag.svg)]({address})", self.head.name)
    }

    /// Where the licence is explained, for a single SPDX identifier.
    fn licence_href(&self) -> Option<String> {
        let licence = self.licence.as_deref()?;
        let is_identifier = licence
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.+".contains(&byte));
        is_identifier.then(|| format!("https://spdx.org/licenses/{licence}.html"))
    }
}

/// The page.
pub(super) async fn show(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let (index, repository) = (&page.browse.index, &page.repository);
    let did = &page.owner.identity.did;
    let tag = match &repository.pull_tag {
        Some(name) => index.tag(page.id(), name).await.map_err(BrowseError::from)?,
        None => None,
    };
    let digest = tag.as_ref().and_then(|tag| tag.digest.clone());
    let manifest = match &digest {
        Some(digest) => index
            .manifest(page.id(), digest)
            .await
            .map_err(BrowseError::from)?,
        None => None,
    };
    let summary = manifest.as_ref().map(|manifest| &manifest.summary);
    let mut holds = Vec::new();
    for hold in index
        .holds_of(page.id())
        .await
        .map_err(BrowseError::from)?
        .iter()
        .take(3)
    {
        let view = index.hold(&hold.hold).await.map_err(BrowseError::from)?;
        holds.push(HoldName::of(&hold.hold, view.as_ref()));
    }
    // Of an index, its first image.
    let first_image = summary
        .and_then(|summary| platform_rows(&page.path, &summary.children).into_iter().next())
        .and_then(|row| row.digest.whole.parse().ok());
    let scanned = first_image.or_else(|| digest.clone());
    let scans = match &scanned {
        Some(scanned) => index.scans(did, scanned).await.map_err(BrowseError::from)?,
        None => Vec::new(),
    };
    let annotations = &repository.annotations;
    let source = claimed_link(annotations, "source");
    let image_name = page.image_name();
    let digest_text = digest.as_ref().map(ToString::to_string);
    let kind = summary.map(|summary| summary.kind);
    let pull = image_name.as_deref().filter(|_| tag.is_some()).map(|name| {
        PullCommands::new(&PullTarget {
            repository: name,
            tag: repository.pull_tag.as_deref(),
            digest: digest_text.as_deref(),
            kind: pullable(kind),
            is_plain_http: !page.visit.site.is_secure(),
        })
    });
    let chart = chart(page).await?;
    let readme = repository
        .readme
        .as_deref()
        .filter(|text| !text.trim().is_empty());
    let chrome = page.visit.chrome();
    Ok(render(
        StatusCode::OK,
        &OverviewPage {
            head: page.head(&RepositoryPage::Overview),
            is_private: holds.first().is_some_and(|hold| hold.is_public == Some(false)),
            newest: tag
                .as_ref()
                .map(|tag| (tag.name.clone(), Moment::new(tag.moved_at, page.now))),
            digest: digest.as_ref().map(|digest| DigestView::new(&page.path, digest)),
            content: summary.map(|summary| ContentView::of(&page.path, summary)),
            trust: manifest
                .as_ref()
                .map(|manifest| TrustView::of(did, &page.path, manifest)),
            scan: scans.first().map(|scan| ScanSummary::of(scan, page.now)),
            scan_links: scanned
                .as_ref()
                .map(|scanned| ScanLinks::new(&page.owner.name(), &repository.card.name, scanned)),
            is_scannable: matches!(kind, Some(Kind::Image | Kind::ImageIndex)),
            documentation: claimed_link(annotations, "documentation"),
            homepage: claimed_link(annotations, "url"),
            licence: Some(repository.card.licence.clone()).filter(|licence| !licence.is_empty()),
            version: claimed(annotations, "version"),
            revision: claimed(annotations, "revision"),
            pulls: Count(repository.card.pulls),
            last_pull: repository.last_pull.map(|at| Moment::new(at, page.now)),
            chart_total: Count(chart.as_ref().map_or(0, DayChart::total)),
            busy_days: chart.as_ref().map_or_else(Vec::new, busy_days),
            chart,
            readme: readme.map(|text| rendered(text, source.as_ref())),
            source,
            holds,
            pull,
            chrome,
        },
    ))
}

/// The days with pulls, the last first.
fn busy_days(chart: &DayChart) -> Vec<(String, Count)> {
    let days = chart.days.iter().rev();
    days.filter_map(|day| Some((day.name.clone(), Count(day.count.filter(|count| *count > 0)?))))
        .collect()
}

/// The chart of pulls; `None` where none were counted.
async fn chart(page: &RepositoryVisit<'_>) -> Result<Option<DayChart>, PageError> {
    let to = page.now.date_naive();
    let from = to.checked_sub_days(Days::new(CHART_DAYS - 1)).unwrap_or(to);
    let days = page
        .browse
        .index
        .pulls_by_day(page.id(), from, to)
        .await
        .map_err(BrowseError::from)?;
    if days.is_empty() {
        return Ok(None);
    }
    let days = from.iter_days().take_while(|day| *day <= to).map(|day| ChartDay {
        name: day.format("%-d %B %Y").to_string(),
        count: Some(
            days.iter()
                .find(|found| found.day == day)
                .map_or(0, |found| found.pulls),
        ),
    });
    Ok(Some(DayChart {
        days: days.collect(),
        label: "Pulls by day, the last 90 days",
    }))
}

/// A README as HTML; from memory if it was shown before.
fn rendered(text: &str, source: Option<&ClaimedLink>) -> Rendered {
    let base = source.map(|link| link.href.clone());
    READMES.get_with((text.to_owned(), base.clone()), || {
        let base = base.and_then(|base| base.parse().ok());
        markdown::render(text, base.as_ref())
    })
}
