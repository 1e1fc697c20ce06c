//! What search engines are told: which pages to leave out, and which there are.

use std::fmt::Write as _;
use std::sync::Arc;

use atcr_index::view::RepositoryId;
use atcr_web::site::Site;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::visit::Visit;
use crate::browse::BrowseError;
use crate::browse::address::repository_path;
use crate::edge::dialect::page::PageError;
use crate::state::AppState;

/// Numbers of repositories that one site map is for; fewer repositories, since numbers are not given again.
const NUMBERS: i64 = 5_000;

/// Site maps that are named: what one index of them may have.
const MAPS: usize = 50_000;

/// Pages that are the same for everyone.
const PAGES: [&str; 3] = ["/", "/install", "/learn-more"];

/// `GET /robots.txt`: pages may be found; what leads through sign-ins need not.
pub async fn robots(State(site): State<Arc<Site>>) -> String {
    format!(
        "User-agent: *\nDisallow: /api/\nDisallow: /auth/\nDisallow: /device\nDisallow: /settings\nDisallow: /v2/\nSitemap: {}\n",
        site.url("/sitemap.xml")
    )
}

/// `GET /sitemap.xml`: which site maps there are.
pub async fn index(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = maps(&state).await;
    visit.answer(outcome)
}

async fn maps(state: &AppState) -> Result<Response, PageError> {
    let mut body = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<sitemapindex xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n",
    );
    let mut next = 0;
    for number in 0..MAPS {
        // The first has the pages that are always there.
        if number > 0 {
            let found = state
                .browse
                .index
                .all_repositories(RepositoryId(next * NUMBERS), 1)
                .await;
            let Some(first) = found.map_err(BrowseError::from)?.into_iter().next() else {
                break;
            };
            next = (first.id.0 - 1).div_euclid(NUMBERS);
        }
        let url = state.site.url(&format!("/sitemap/{next}.xml"));
        let _ = writeln!(body, "<sitemap><loc>{url}</loc></sitemap>");
        next += 1;
    }
    body.push_str("</sitemapindex>\n");
    Ok(xml(body))
}

/// `GET /sitemap/{number}.xml`.
pub async fn map(visit: Visit, State(state): State<AppState>, Path(file): Path<String>) -> Response {
    let outcome = match file
        .strip_suffix(".xml")
        .and_then(|number| number.parse::<u32>().ok())
    {
        Some(number) => repositories(&state, i64::from(number)).await,
        None => Err(PageError::NotFound),
    };
    visit.answer(outcome)
}

async fn repositories(state: &AppState, number: i64) -> Result<Response, PageError> {
    let after = number * NUMBERS;
    let limit = u32::try_from(NUMBERS).unwrap_or(u32::MAX);
    let found = state
        .browse
        .index
        .all_repositories(RepositoryId(after), limit)
        .await;
    let found = found.map_err(BrowseError::from)?;
    let mut body = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n",
    );
    if number == 0 {
        for page in PAGES {
            let _ = writeln!(body, "<url><loc>{}</loc></url>", state.site.url(page));
        }
    }
    // Handles, DIDs and names of repositories have no character that XML or an address gives a meaning.
    for card in found.iter().take_while(|card| card.id.0 <= after + NUMBERS) {
        let owner = &card.owner;
        let name = owner
            .handle
            .as_ref()
            .map_or_else(|| owner.did.to_string(), ToString::to_string);
        let _ = writeln!(
            body,
            "<url><loc>{}</loc><lastmod>{}</lastmod></url>",
            state.site.url(&repository_path(&name, &card.name)),
            card.pushed_at.format("%Y-%m-%d"),
        );
    }
    body.push_str("</urlset>\n");
    Ok(xml(body))
}

fn xml(body: String) -> Response {
    let mut response = Body::from(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/xml; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}
