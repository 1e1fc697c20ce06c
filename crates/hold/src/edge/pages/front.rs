//! `/`: what the hold is, for people who follow a link.

use askama::Template;
use atcr_web::figures::{Count, Gibibytes};
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, VARY};
use http::{HeaderValue, StatusCode};

use super::PagesState;
use super::error::PageError;
use super::visit::Visit;
use crate::edge::well_known::landing_text;

#[derive(Template)]
#[template(path = "pages/front.html")]
struct FrontPage {
    chrome: Chrome,
    host: String,
    did: String,
    captain: Option<Captain>,
    is_public: bool,
    is_open: bool,
    region: Option<String>,
    successor: Option<String>,
    members: Count,
    /// The tiers' names, and what each may keep.
    tiers: Vec<(String, Gibibytes)>,
    appview: Option<AppView>,
    works: bool,
    has_admin: bool,
}

/// The registry that the hold works for.
struct AppView {
    host: String,
    /// Its storage settings.
    settings: String,
}

struct Captain {
    name: String,
    did: String,
}

/// `GET /`. Programs that do not ask for a page get the same in plain text.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let mut response = if wants_page(visit.headers()) {
        let outcome = show(&visit, &state).await;
        visit.answer(outcome)
    } else {
        landing_text(&state.identity).into_response()
    };
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

async fn show(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let captain = state.repo.captain().await?;
    let name = match &captain {
        None => None,
        Some(captain) => {
            let did = captain.owner.to_string();
            let mut names = state.accounts.handles(std::slice::from_ref(&did)).await?;
            Some(Captain {
                name: names.remove(&did).unwrap_or_else(|| did.clone()),
                did,
            })
        }
    };
    let members = state.repo.crew_by_tier().await?;
    let appview = state.settings.trusted_appview.as_ref();
    let page = FrontPage {
        chrome: visit.chrome(),
        host: state.settings.hostname(),
        did: state.identity.did().to_string(),
        captain: name,
        is_public: captain.as_ref().is_some_and(|captain| captain.public),
        is_open: captain.as_ref().is_some_and(|captain| captain.allow_all_crew),
        region: captain.as_ref().and_then(|captain| captain.region.clone()),
        successor: captain
            .as_ref()
            .and_then(|captain| captain.successor.as_ref().map(ToString::to_string)),
        members: Count(members.iter().map(|(_, members)| members).sum()),
        tiers: state
            .quotas
            .tiers()
            .all()
            .iter()
            .map(|tier| (tier.name.clone(), Gibibytes(tier.quota_bytes)))
            .collect(),
        // Of a did:web the host is in its name.
        appview: appview
            .and_then(|did| did.as_str().strip_prefix("did:web:"))
            .map(|host| {
                let host = host.replace("%3A", ":");
                let scheme = state.settings.public_url.scheme();
                AppView {
                    settings: format!("{scheme}://{host}/settings/storage"),
                    host,
                }
            }),
        works: state.overview.works().await,
        has_admin: state.settings.admin,
    };
    Ok(render(StatusCode::OK, &page))
}
