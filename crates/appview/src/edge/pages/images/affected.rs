//! `/affected`: which of my images have this vulnerability, or this package? For programs that ask for JSON, too.

use askama::Template;
use atcr_auth::principal::Principal;
use atcr_oci::Reference;
use atcr_web::figures::Count;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::super::visit::Visit;
use super::scan_json::{self, FindingJson};
use super::scan_subject::ScanLinks;
use super::scans::FindingRow;
use crate::affected::{AffectedImage, Answer, Hits, Image, SearchError, Unknown, Wanted};
use crate::browse::address::{image_path, repository_path};
use crate::edge::dialect::json::refused;
use crate::edge::dialect::page::PageError;
use crate::edge::response::json;
use crate::scans::{Package, clean};
use crate::state::AppState;

/// Images of which it is not known that are named on a page.
const NAMED: usize = 20;

#[derive(Template)]
#[template(path = "pages/images/affected.html")]
struct AffectedPage {
    chrome: Chrome,
    query: String,
    answer: Option<AnswerView>,
    /// Why nothing was looked for.
    refusal: Option<&'static str>,
}

struct AnswerView {
    images: Vec<ImageView>,
    looked_at: Count,
    unknown: Vec<UnknownView>,
    unknown_more: usize,
    is_cut: bool,
}

struct ImageView {
    name: String,
    href: String,
    details: String,
    tags: String,
    platform: Option<String>,
    findings: Vec<FindingRow>,
    packages: Vec<Package>,
    more: usize,
}

struct UnknownView {
    name: String,
    href: String,
    tags: String,
    why: &'static str,
}

/// `GET /affected?q=`
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    if scan_json::is_wanted(&visit) {
        let outcome = answer_json(&visit, &state).await;
        let mut response = outcome.unwrap_or_else(|error| refused(&error));
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        headers.insert(VARY, HeaderValue::from_static("accept"));
        return response;
    }
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let account = super::visitor(visit).ok_or(PageError::SignInFirst)?;
    let typed = visit.query().get("q").unwrap_or_default();
    let (answer, refusal) = match Wanted::parse(typed) {
        Ok(wanted) => {
            let answer = state.affected.search(account, &wanted).await.map_err(failed)?;
            let owner = visit.chrome().visitor_name().to_owned();
            (Some(AnswerView::of(answer, &owner)), None)
        }
        Err(_) if typed.trim().is_empty() => (None, None),
        Err(_) => (
            None,
            Some("Type the ID of a vulnerability, or at least two characters of a package's name."),
        ),
    };
    let page = AffectedPage {
        chrome: visit.chrome(),
        query: clean(typed).chars().take(200).collect(),
        answer,
        refusal,
    };
    Ok(render(StatusCode::OK, &page))
}

fn failed(error: SearchError) -> PageError {
    match error {
        SearchError::Busy => PageError::Refused(
            "A search of your images is under way, or this server makes as many as it can. Try again in a moment.",
        ),
        SearchError::Browse(error) => error.into(),
    }
}

impl AnswerView {
    fn of(answer: Answer, owner: &str) -> Self {
        let unknown_more = answer.unknown.len().saturating_sub(NAMED);
        Self {
            images: answer
                .affected
                .into_iter()
                .map(|affected| ImageView::of(affected, owner))
                .collect(),
            looked_at: Count(answer.looked_at as u64),
            unknown: answer
                .unknown
                .into_iter()
                .take(NAMED)
                .map(|(image, why)| UnknownView {
                    href: href(&image, owner),
                    tags: tags(&image),
                    why: sentence(why),
                    name: image.repository,
                })
                .collect(),
            unknown_more,
            is_cut: answer.is_cut,
        }
    }
}

impl ImageView {
    fn of(affected: AffectedImage, owner: &str) -> Self {
        let AffectedImage { image, hits, more } = affected;
        let (findings, packages) = match hits {
            Hits::Findings(found) => (found.iter().map(FindingRow::of).collect(), Vec::new()),
            Hits::Packages(packages) => (Vec::new(), packages),
        };
        Self {
            href: href(&image, owner),
            details: ScanLinks::new(owner, &image.repository, &image.digest).details,
            tags: tags(&image),
            name: image.repository,
            platform: image.platform,
            findings,
            packages,
            more,
        }
    }
}

fn href(image: &Image, owner: &str) -> String {
    image_path(
        &repository_path(owner, &image.repository),
        &Reference::Digest(image.digest.clone()),
    )
}

/// The first tags that name it.
fn tags(image: &Image) -> String {
    let mut tags = image.tags.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if image.tags.len() > 5 {
        tags.push_str(", …");
    }
    tags
}

const fn sentence(why: Unknown) -> &'static str {
    match why {
        Unknown::NotScanned => "it was not scanned",
        Unknown::NoAnswer => "its hold does not answer",
        Unknown::MembersOnly => "its hold does not tell you",
        Unknown::Unreadable => "what the scan found cannot be read here",
        Unknown::ReadInPart => "what the scan found is too long to be read to the end",
        Unknown::NoTime => "there was no time left",
    }
}

const fn word(why: Unknown) -> &'static str {
    match why {
        Unknown::NotScanned => "not-scanned",
        Unknown::NoAnswer => "no-answer",
        Unknown::MembersOnly => "members-only",
        Unknown::Unreadable => "unreadable",
        Unknown::ReadInPart => "read-in-part",
        Unknown::NoTime => "no-time",
    }
}

/// An answer for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnswerJson {
    /// The account whose images were looked at.
    owner: String,
    query: String,
    /// `vulnerability` or `package`.
    kind: &'static str,
    /// Images that have it.
    images: Vec<ImageJson>,
    looked_at: usize,
    /// Images that may have it or not.
    unknown: Vec<UnknownJson>,
    /// All images of the account were looked at, and none is unknown.
    is_complete: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageJson {
    repository: String,
    digest: String,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<PackageJson>,
    /// Findings or packages that are not listed.
    more: usize,
}

#[derive(Serialize)]
struct PackageJson {
    name: String,
    version: String,
    kind: String,
}

#[derive(Serialize)]
struct UnknownJson {
    repository: String,
    digest: String,
    reason: &'static str,
}

async fn answer_json(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let Principal::Sailor { did, .. } = scan_json::asker(visit, state).await? else {
        return Err(PageError::SignInFirst);
    };
    let typed = visit.query().get("q").unwrap_or_default();
    let wanted = Wanted::parse(typed).map_err(|_| {
        PageError::Refused(
            "q has to be the ID of a vulnerability, or at least two characters of a package's name.",
        )
    })?;
    let answer = state.affected.search(&did, &wanted).await.map_err(failed)?;
    let body = AnswerJson {
        owner: did.to_string(),
        query: clean(typed),
        kind: match wanted {
            Wanted::Vulnerability(_) => "vulnerability",
            Wanted::Package { .. } => "package",
        },
        looked_at: answer.looked_at,
        is_complete: !answer.is_cut && answer.unknown.is_empty(),
        images: answer.affected.into_iter().map(ImageJson::from).collect(),
        unknown: answer
            .unknown
            .into_iter()
            .map(|(image, why)| UnknownJson {
                repository: image.repository,
                digest: image.digest.to_string(),
                reason: word(why),
            })
            .collect(),
    };
    Ok(json(StatusCode::OK, &body))
}

impl From<AffectedImage> for ImageJson {
    fn from(affected: AffectedImage) -> Self {
        let AffectedImage { image, hits, more } = affected;
        let (findings, packages) = match hits {
            Hits::Findings(found) => (found.iter().map(FindingJson::from).collect(), Vec::new()),
            Hits::Packages(packages) => (Vec::new(), packages),
        };
        Self {
            repository: image.repository,
            digest: image.digest.to_string(),
            tags: image.tags,
            platform: image.platform,
            findings,
            packages: packages
                .into_iter()
                .map(|package| PackageJson {
                    name: package.name,
                    version: package.version,
                    kind: package.kind,
                })
                .collect(),
            more,
        }
    }
}
