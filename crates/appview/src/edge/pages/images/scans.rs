//! What is in an image: `/api/scan-result`, the late part of pages about images, `/api/scan-badge`, that of lists, and `/api/vuln-details`,
//! a page of its own with the findings, the packages and the bill of materials (`/api/sbom`).
//!
//! All take `owner` (handle or DID), `repository` and `digest` or `tag`. `/api/scan-result` and `/api/vuln-details` have a second form, for
//! programs that ask for JSON.

use askama::Template;
use atcr_oci::Reference;
use atcr_scan_protocol::DocumentKind;
use atcr_web::figures::Count;
use atcr_web::moment::Moment;
use atcr_web::navigation::{Paging, address};
use atcr_web::view::{Chrome, render};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::super::visit::Visit;
use super::HoldName;
use super::scan_json;
use super::scan_subject::{Asking, Placed, Subject, principal};
use super::scan_words::{ScanWords, Verdict};
use crate::browse::address::{image_path, repository_path};
use crate::edge::dialect::page::PageError;
use crate::scans::{Finding, Findings, Fix, NoDocument, Package, Packages, clean};
use crate::state::AppState;

/// Rows of a table.
const ROWS: usize = 200;

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
            Ok(scan_json::of(
                &Subject::find(&visit, &asker, &state, "", Asking::Always).await?,
            ))
        };
        return scan_json::answer(outcome.await);
    }
    let asker = principal(&visit);
    let outcome = Subject::find(&visit, &asker, &state, "", Asking::Always)
        .await
        .map(|subject| {
            let part = ScanResultPart { words: subject.words };
            render(StatusCode::OK, &part)
        });
    visit.answer(outcome)
}

#[derive(Template)]
#[template(path = "pages/images/scan_badge.html")]
struct ScanBadgePart {
    words: ScanWords,
    details: String,
}

/// `GET /api/scan-badge`
pub async fn badge(visit: Visit, State(state): State<AppState>) -> Response {
    let asker = principal(&visit);
    let found = Subject::find(&visit, &asker, &state, "", Asking::WhereNothingIsPublished).await;
    let outcome = found.map(|subject| {
        let part = ScanBadgePart {
            details: subject.links().details,
            words: subject.words,
        };
        render(StatusCode::OK, &part)
    });
    visit.answer(outcome)
}

/// A row of findings.
pub(super) struct FindingRow {
    pub(super) found: Finding,
    /// `1.1 or 2.0`, or why there is none.
    pub(super) fixed_in: String,
    pub(super) is_fixable: bool,
}

impl FindingRow {
    pub(super) fn of(found: &Finding) -> Self {
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
pub(super) enum Listed<T> {
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
    cyclonedx_href: Option<String>,
}

/// `GET /api/vuln-details`, with `q` to search packages, `f` and `p` for the pages of the two tables.
///
/// As JSON with the findings, from the one with the number `after` on.
pub async fn details(visit: Visit, State(state): State<AppState>) -> Response {
    if scan_json::is_wanted(&visit) {
        return scan_json::sent(details_json(&visit, &state).await);
    }
    let outcome = show_details(&visit, &state).await;
    visit.answer(outcome)
}

async fn details_json(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let asker = scan_json::asker(visit, state).await?;
    let subject = Subject::find(visit, &asker, state, "", Asking::Always).await?;
    let json = scan_json::of(&subject);
    let after = visit.query().get("after").and_then(|text| text.parse().ok());
    let findings = subject.findings(&asker, state).await;
    scan_json::with_findings(json, findings, after.unwrap_or_default(), visit, state).await
}

async fn show_details(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let asker = principal(visit);
    let subject = Subject::find(visit, &asker, state, "", Asking::Always).await?;
    let query = clean(visit.query().get("q").unwrap_or_default());
    let (findings, packages) = tokio::join!(subject.findings(&asker, state), subject.packages(&asker, state));
    let links = subject.links();
    let mut words = subject.words.clone();
    if let Ok(findings) = &findings
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
                Ok(found) => Listed::Some(findings_view(&found, visit, &links.details, &query)),
                Err(why_not) => Listed::None(why_not),
            },
            packages: match packages {
                Ok(found) => Listed::Some(packages_view(&found, visit, &links.details, &query)),
                Err(why_not) => Listed::None(why_not),
            },
            cyclonedx_href: subject
                .place(DocumentKind::SbomCyclonedx)
                .map(|_| format!("{}&format=cyclonedx", links.sbom)),
            sbom_href: has_sbom.then_some(links.sbom),
            name: format!("{owner}/{}", subject.repository),
            image_href: image_path(&repository_href, &Reference::Digest(subject.digest.clone())),
            repository_href,
            digest: subject.digest.to_string(),
            hold: subject.scanned_by().cloned(),
            words,
            query,
            owner,
            repository: subject.repository.clone(),
            chrome: visit.chrome(),
        },
    ))
}

/// The rows of the page that `parameter` names, and the links around them, which lead to `base`.
pub(super) fn page_of(
    visit: &Visit,
    base: &str,
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
        format!("{base}{}", more.replacen('?', "&", 1))
    };
    let paging = Paging {
        newest: (page > 1).then(|| to(0)),
        newer: (page > 0).then(|| to(page - 1)),
        older: (page < last).then(|| to(page + 1)),
    };
    let first = page * ROWS;
    (first..(first + ROWS).min(total), paging)
}

fn findings_view(found: &Findings, visit: &Visit, base: &str, query: &str) -> FindingsView {
    let (range, paging) = page_of(visit, base, "f", query, found.all.len());
    FindingsView {
        counts: found
            .counts
            .iter()
            .map(|(severity, count)| (severity.name(), *count))
            .collect(),
        total: Count(found.all.len() as u64),
        fixable: Count(found.fixable as u64),
        left_out: Count(found.left_out as u64),
        rows: found.all[range].iter().map(FindingRow::of).collect(),
        paging,
    }
}

fn packages_view(all: &Packages, visit: &Visit, base: &str, query: &str) -> PackagesView {
    let found = all.find(query);
    let (range, paging) = page_of(visit, base, "p", query, found.len());
    PackagesView {
        total: Count(all.all.len() as u64),
        found: Count(found.len() as u64),
        left_out: Count(all.left_out as u64),
        rows: found[range].iter().map(|package| (*package).clone()).collect(),
        paging,
    }
}

/// `GET /api/sbom`: the bill of materials as the hold has it, in SPDX 2.3; with `format=cyclonedx` in CycloneDX.
pub async fn sbom(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = download(&visit, &state).await;
    visit.answer(outcome)
}

async fn download(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let (kind, ending) = match visit.query().get("format").unwrap_or_default() {
        "" | "spdx" => (DocumentKind::Sbom, "spdx"),
        "cyclonedx" => (DocumentKind::SbomCyclonedx, "cdx"),
        _ => return Err(PageError::NotFound),
    };
    let asker = principal(visit);
    let subject = Subject::find(visit, &asker, state, "", Asking::Always).await?;
    let Placed { did, place, .. } = subject.place(kind).ok_or(PageError::NotFound)?;
    let read = state.scans.download(&asker, &visit.client, &did, &place).await;
    let read = read.map_err(|error| match error {
        NoDocument::Busy => PageError::Refused(
            "This server reads and sends as many documents as it can at the moment. Try again later.",
        ),
        _ => PageError::Refused("The hold does not give the bill of materials now. Try again later."),
    })?;
    let length = HeaderValue::from(read.length);
    let short: String = subject.digest.hex().chars().take(12).collect();
    let file = subject.repository.rsplit('/').next().unwrap_or_default();
    let mut response = Response::new(Body::from_stream(read.into_stream()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    let disposition = format!("attachment; filename=\"{file}-{short}.{ending}.json\"");
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}
