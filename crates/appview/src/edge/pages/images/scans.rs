//! What is in an image: `/api/scan-result`, the late part of pages about images, and `/api/vuln-details`, a page of its own with the
//! findings, the packages and the bill of materials (`/api/sbom`).
//!
//! All three take `owner` (handle or DID), `repository` and `digest`. The first two have a second form, for programs that ask for JSON.

use std::sync::Arc;

use askama::Template;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_index::view::ScanView as IndexedScan;
use atcr_oci::{Digest, Reference};
use atcr_scan_protocol::DocumentKind;
use atcr_web::figures::Count;
use atcr_web::moment::Moment;
use atcr_web::navigation::{Paging, address};
use atcr_web::view::{Chrome, render};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::super::visit::Visit;
use super::HoldName;
use super::scan_json::{self, FindingsJson, HoldJson, ScanJson};
use super::scan_words::{ScanWords, Verdict, why_not};
use crate::browse::address::{image_path, repository_path};
use crate::browse::{BrowseError, Owner};
use crate::edge::dialect::page::PageError;
use crate::scans::{
    DocumentPlace, Finding, Findings, Fix, HoldWord, NoDocument, Package, Packages, clean, place,
};
use crate::state::AppState;

/// Rows of a table.
const ROWS: usize = 200;

/// Where a page finds what is known of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScanLinks {
    /// The late part.
    pub(super) result: String,
    /// The page with everything.
    pub(super) details: String,
}

impl ScanLinks {
    pub(super) fn new(owner: &str, repository: &str, digest: &Digest) -> Self {
        let of = |path: &str| {
            let query = [
                ("owner", owner),
                ("repository", repository),
                ("digest", digest.as_str()),
            ];
            address(path, &query)
        };
        Self {
            result: of("/api/scan-result"),
            details: of("/api/vuln-details"),
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
struct Subject {
    owner: Owner,
    repository: String,
    digest: Digest,
    hold: Option<HoldName>,
    indexed: Option<IndexedScan>,
    word: HoldWord,
    words: ScanWords,
}

impl Subject {
    async fn find(visit: &Visit, asker: &Principal, state: &AppState) -> Result<Self, PageError> {
        let query = visit.query();
        let asked = query
            .get("owner")
            .or_else(|| query.get("did"))
            .unwrap_or_default();
        let repository = query.get("repository").unwrap_or_default().to_owned();
        let (Ok(identifier), Ok(digest)) = (
            asked.parse::<atcr_atproto::syntax::AtIdentifier>(),
            query.get("digest").unwrap_or_default().parse::<Digest>(),
        ) else {
            return Err(PageError::NotFound);
        };
        let browse = &state.browse;
        let owner = browse.owner(&identifier).await?;
        let found = browse.repository(&owner, &repository).await?;
        let index = &browse.index;
        let manifest = index
            .manifest(found.card.id, &digest)
            .await
            .map_err(BrowseError::from)?;
        // The hold is asked only about an image that a record names, so a made-up digest costs no request.
        let manifest = manifest.ok_or_else(|| BrowseError::NoImage {
            owner: owner.name(),
            repository: repository.clone(),
            reference: digest.to_string(),
        })?;
        let scans = index
            .scans(&owner.identity.did, &digest)
            .await
            .map_err(BrowseError::from)?;
        let indexed = scans.into_iter().next();
        let hold = manifest
            .hold
            .or_else(|| indexed.as_ref().map(|scan| scan.hold.clone()));
        let (hold, word) = match hold {
            Some(hold) => {
                let view = index.hold(&hold).await.map_err(BrowseError::from)?;
                let word = state.scans.ask(asker, &hold, &digest).await;
                (Some(HoldName::of(&hold, view.as_ref())), word)
            }
            None => (None, HoldWord::HasNone),
        };
        let name = hold
            .as_ref()
            .map_or_else(|| "The hold".to_owned(), |hold| hold.name.clone());
        Ok(Self {
            words: ScanWords::of(&word, indexed.as_ref(), &name, browse.clock.now()),
            owner,
            repository,
            digest,
            hold,
            indexed,
            word,
        })
    }

    fn place(&self, kind: DocumentKind) -> Option<(atcr_atproto::syntax::Did, DocumentPlace)> {
        let place = place(&self.word, self.indexed.as_ref(), &self.digest, kind)?;
        let hold = match (&place, &self.indexed) {
            // A record's blobs are where the record is.
            (DocumentPlace::Record(_), Some(indexed)) => indexed.hold.clone(),
            _ => self.hold.as_ref()?.did.parse().ok()?,
        };
        Some((hold, place))
    }

    /// What programs are told.
    fn json(&self) -> ScanJson {
        let words = &self.words;
        let (state, message) = scan_json::state(words, &self.word);
        ScanJson {
            owner: self.owner.identity.did.to_string(),
            repository: self.repository.clone(),
            digest: self.digest.to_string(),
            hold: self.hold.as_ref().map(|hold| HoldJson {
                did: hold.did.clone(),
                name: hold.name.clone(),
            }),
            state,
            message,
            partial: words.is_partial,
            counts: scan_json::counts(words),
            scanner: words.scanner.clone(),
            scanned_at: words.at.as_ref().map(|at| at.iso.clone()),
            database_built: words.database.as_ref().map(|built| built.iso.clone()),
            note: words.note.clone(),
            findings: None,
        }
    }

    /// The findings, if there is a report of them.
    async fn findings(
        &self,
        asker: &Principal,
        state: &AppState,
    ) -> Option<Result<Arc<Findings>, NoDocument>> {
        let (hold, place) = self.place(DocumentKind::VulnReport)?;
        Some(state.scans.findings(asker, &hold, &place).await)
    }

    fn hold_name(&self) -> &str {
        self.hold.as_ref().map_or("The hold", |hold| hold.name.as_str())
    }

    /// Why there is no document called `what`.
    fn missing(&self, what: &str) -> String {
        let has_result = matches!(
            self.words.verdict,
            Verdict::Clean | Verdict::Found(_) | Verdict::PackagesOnly
        );
        if has_result {
            format!("The scan has no {what}.")
        } else {
            "There is no scan of this image.".to_owned()
        }
    }

    fn links(&self) -> ScanLinks {
        ScanLinks::new(&self.owner.name(), &self.repository, &self.digest)
    }
}

#[derive(Template)]
#[template(path = "pages/images/scan_result.html")]
struct ScanResultPart {
    words: ScanWords,
}

/// `GET /api/scan-result`
pub async fn result(visit: Visit, State(state): State<AppState>) -> Response {
    if scan_json::is_wanted(&visit) {
        let outcome = async {
            let asker = scan_json::asker(&visit, &state).await?;
            Ok(Subject::find(&visit, &asker, &state).await?.json())
        };
        return scan_json::answer(outcome.await);
    }
    let asker = principal(&visit);
    let outcome = Subject::find(&visit, &asker, &state).await.map(|subject| {
        let part = ScanResultPart { words: subject.words };
        render(StatusCode::OK, &part)
    });
    visit.answer(outcome)
}

/// A row of findings.
struct FindingRow {
    found: Finding,
    /// `1.1 or 2.0`, or why there is none.
    fixed_in: String,
    is_fixable: bool,
}

impl FindingRow {
    fn of(found: &Finding) -> Self {
        let (fixed_in, is_fixable) = match &found.fix {
            Fix::In(versions) => (versions.join(" or "), true),
            Fix::NotFixed => ("no fix yet".to_owned(), false),
            Fix::WillNotFix => ("will not be fixed".to_owned(), false),
            Fix::Unknown => ("not known".to_owned(), false),
        };
        Self {
            found: found.clone(),
            fixed_in,
            is_fixable,
        }
    }
}

/// A list, or why there is none.
enum Listed<T> {
    Some(T),
    /// The sentence says why.
    None(String),
}

struct FindingsView {
    counts: Vec<(&'static str, usize)>,
    total: Count,
    fixable: Count,
    left_out: Count,
    rows: Vec<FindingRow>,
    paging: Paging,
}

struct PackagesView {
    total: Count,
    found: Count,
    left_out: Count,
    rows: Vec<Package>,
    paging: Paging,
}

#[derive(Template)]
#[template(path = "pages/images/vuln_details.html")]
struct DetailsPage {
    chrome: Chrome,
    /// `owner/app`
    name: String,
    repository_href: String,
    image_href: String,
    digest: String,
    hold: Option<HoldName>,
    words: ScanWords,
    findings: Listed<FindingsView>,
    packages: Listed<PackagesView>,
    query: String,
    owner: String,
    repository: String,
    sbom_href: Option<String>,
}

/// `GET /api/vuln-details`, with `q` to search packages, `f` and `p` for the pages of the two tables.
///
/// As JSON with the findings, from the one with the number `after` on.
pub async fn details(visit: Visit, State(state): State<AppState>) -> Response {
    if scan_json::is_wanted(&visit) {
        return scan_json::answer(details_json(&visit, &state).await);
    }
    let outcome = show_details(&visit, &state).await;
    visit.answer(outcome)
}

async fn details_json(visit: &Visit, state: &AppState) -> Result<ScanJson, PageError> {
    let asker = scan_json::asker(visit, state).await?;
    let subject = Subject::find(visit, &asker, state).await?;
    let mut json = subject.json();
    let after = visit.query().get("after").and_then(|text| text.parse().ok());
    json.findings = Some(match subject.findings(&asker, state).await {
        Some(Ok(found)) => {
            let built = found.database_built.map(scan_json::time);
            json.database_built = json.database_built.or(built);
            FindingsJson::portion(&found, after.unwrap_or_default())
        }
        Some(Err(error)) => FindingsJson::None {
            no_findings: why_not(&error, subject.hold_name()),
        },
        None => FindingsJson::None {
            no_findings: subject.missing("report of vulnerabilities"),
        },
    });
    Ok(json)
}

async fn show_details(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let asker = principal(visit);
    let subject = Subject::find(visit, &asker, state).await?;
    let query = clean(visit.query().get("q").unwrap_or_default());
    let (findings, packages) = tokio::join!(subject.findings(&asker, state), async {
        let (hold, place) = subject.place(DocumentKind::Sbom)?;
        Some(state.scans.packages(&asker, &hold, &place).await)
    });
    let hold = subject.hold_name();
    let missing = |what| subject.missing(what);
    let links = subject.links();
    let mut words = subject.words.clone();
    if let Some(Ok(findings)) = &findings
        && words.database.is_none()
    {
        words.database = findings
            .database_built
            .map(|built| Moment::new(built, state.browse.clock.now()));
    }
    let has_sbom = subject.place(DocumentKind::Sbom).is_some();
    let owner = subject.owner.name();
    let repository_href = repository_path(&owner, &subject.repository);
    Ok(render(
        StatusCode::OK,
        &DetailsPage {
            findings: match findings {
                Some(Ok(found)) => Listed::Some(findings_view(&found, visit, &links, &query)),
                Some(Err(error)) => Listed::None(why_not(&error, hold)),
                None => Listed::None(missing("report of vulnerabilities")),
            },
            packages: match packages {
                Some(Ok(found)) => Listed::Some(packages_view(&found, visit, &links, &query)),
                Some(Err(error)) => Listed::None(why_not(&error, hold)),
                None => Listed::None(missing("list of packages")),
            },
            sbom_href: has_sbom.then(|| {
                let query = [
                    ("owner", owner.as_str()),
                    ("repository", &subject.repository),
                    ("digest", subject.digest.as_str()),
                ];
                address("/api/sbom", &query)
            }),
            name: format!("{owner}/{}", subject.repository),
            image_href: image_path(&repository_href, &Reference::Digest(subject.digest.clone())),
            repository_href,
            digest: subject.digest.to_string(),
            hold: subject.hold.clone(),
            words,
            query,
            owner,
            repository: subject.repository.clone(),
            chrome: visit.chrome(),
        },
    ))
}

/// The rows of the page that `parameter` names, and the links around them.
fn page_of(
    visit: &Visit,
    links: &ScanLinks,
    parameter: &str,
    query: &str,
    total: usize,
) -> (std::ops::Range<usize>, Paging) {
    let last = total.saturating_sub(1) / ROWS;
    let asked = visit.query().get(parameter).and_then(|text| text.parse().ok());
    let page = asked.unwrap_or(0_usize).min(last);
    let to = |page: usize| {
        let page = if page == 0 {
            String::new()
        } else {
            page.to_string()
        };
        let more = address("", &[("q", query), (parameter, &page)]);
        format!("{}{}", links.details, more.replacen('?', "&", 1))
    };
    let paging = Paging {
        newest: (page > 1).then(|| to(0)),
        newer: (page > 0).then(|| to(page - 1)),
        older: (page < last).then(|| to(page + 1)),
    };
    let first = page * ROWS;
    (first..(first + ROWS).min(total), paging)
}

fn findings_view(found: &Findings, visit: &Visit, links: &ScanLinks, query: &str) -> FindingsView {
    let (range, paging) = page_of(visit, links, "f", query, found.all.len());
    FindingsView {
        counts: found
            .counts()
            .into_iter()
            .map(|(severity, count)| (severity.name(), count))
            .collect(),
        total: Count(found.all.len() as u64),
        fixable: Count(found.fixable() as u64),
        left_out: Count(found.left_out as u64),
        rows: found.all[range].iter().map(FindingRow::of).collect(),
        paging,
    }
}

fn packages_view(found: &Packages, visit: &Visit, links: &ScanLinks, query: &str) -> PackagesView {
    let count = found.find(query).count();
    let (range, paging) = page_of(visit, links, "p", query, count);
    PackagesView {
        total: Count(found.all.len() as u64),
        found: Count(count as u64),
        left_out: Count(found.left_out as u64),
        rows: found
            .find(query)
            .skip(range.start)
            .take(range.len())
            .cloned()
            .collect(),
        paging,
    }
}

/// `GET /api/sbom`: the bill of materials as the hold has it, in SPDX 2.3.
pub async fn sbom(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = download(&visit, &state).await;
    visit.answer(outcome)
}

async fn download(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let asker = principal(visit);
    let subject = Subject::find(visit, &asker, state).await?;
    let (hold, place) = subject.place(DocumentKind::Sbom).ok_or(PageError::NotFound)?;
    let bytes = state.scans.read(&asker, &hold, &place).await;
    let bytes = bytes.map_err(|_| {
        PageError::Refused("The hold does not give the bill of materials now. Try again later.")
    })?;
    let short: String = subject.digest.hex().chars().take(12).collect();
    let file = subject.repository.rsplit('/').next().unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/spdx+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    let disposition = format!("attachment; filename=\"{file}-{short}.spdx.json\"");
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}
