//! `/u/{identity}`: an account and what it publishes.

use askama::Template;
use atcr_atproto::syntax::AtIdentifier;
use atcr_index::change::Coverage;
use atcr_web::figures::Count;
use atcr_web::navigation::{Paging, Tab};
use atcr_web::view::{Chrome, render};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::LINK;
use http::{HeaderValue, StatusCode};

use super::delete::{self, DeletionView};
use super::views::{CardView, OwnerLink, page_request, paging};
use super::visitor;
use crate::browse::BrowseError;
use crate::edge::dialect::page::PageError;
use crate::edge::pages::visit::Visit;
use crate::state::AppState;

/// Repositories of a page.
const CARDS: u32 = 24;

#[derive(Template)]
#[template(path = "pages/images/user.html")]
struct UserPage {
    chrome: Chrome,
    owner: OwnerLink,
    has_handle: bool,
    /// The host of the account's server.
    server: Option<String>,
    tabs: Vec<Tab>,
    shows_stars: bool,
    cards: Vec<CardView>,
    paging: Paging,
    is_own: bool,
    is_whole: bool,
    host: String,
    /// The account's name in images' names.
    push_as: String,
    deletions: Vec<DeletionView>,
}

/// `GET /u/{identity}`.
pub async fn repositories(
    visit: Visit,
    State(state): State<AppState>,
    Path(identity): Path<String>,
) -> Response {
    let outcome = show(&visit, &state, &identity, false).await;
    visit.answer(outcome)
}

/// `GET /u/{identity}/-/stars`.
pub async fn stars(visit: Visit, State(state): State<AppState>, Path(identity): Path<String>) -> Response {
    let outcome = show(&visit, &state, &identity, true).await;
    visit.answer(outcome)
}

async fn show(
    visit: &Visit,
    state: &AppState,
    identity: &str,
    shows_stars: bool,
) -> Result<Response, PageError> {
    let browse = &state.browse;
    let identifier: AtIdentifier = identity.parse().map_err(|_| {
        if identity.contains('.') {
            PageError::NotFound
        } else {
            PageError::NoHandle(identity.chars().take(64).collect())
        }
    })?;
    let found = match browse.owner(&identifier).await {
        Err(BrowseError::Moved { to, .. }) => {
            let view = if shows_stars { "/-/stars" } else { "" };
            return Ok(Redirect::temporary(&format!("/u/{to}{view}")).into_response());
        }
        found => found?,
    };
    let did = &found.identity.did;
    let request = page_request(visit.query(), CARDS);
    let page = if shows_stars {
        browse.index.starred_by(did, &request).await
    } else {
        browse.index.repositories_of(did, &request).await
    };
    let page = page.map_err(BrowseError::from)?;
    let now = browse.clock.now();
    let owner = OwnerLink::new(did, found.identity.handle.as_ref());
    let path = if shows_stars {
        format!("{}/-/stars", owner.href)
    } else {
        owner.href.clone()
    };
    let account = found.account.as_ref();
    let tab = |name, href: String, count: Option<u64>, is_current| Tab {
        href,
        name,
        count: count.map(Count),
        is_current,
    };
    let repositories = account.map(|account| account.repositories);
    let stars = account.map(|account| account.stars_given);
    let deletions = delete::deletions(state, visit, &found, None).await?;
    let canonical = visit.site.url(&path);
    let chrome = visit.chrome();
    let mut response = render(
        StatusCode::OK,
        &UserPage {
            tabs: vec![
                tab("Repositories", owner.href.clone(), repositories, !shows_stars),
                tab("Stars", format!("{}/-/stars", owner.href), stars, shows_stars),
            ],
            has_handle: found.identity.handle.is_some(),
            server: found.identity.pds.as_ref().map(atcr_web::site::authority),
            cards: page.items.iter().map(|card| CardView::of(card, now)).collect(),
            paging: paging(&page, &path, &[]),
            is_own: visitor(visit) == Some(did),
            is_whole: found.is_empty || account.is_some_and(|account| account.coverage == Coverage::Whole),
            host: chrome.host(),
            push_as: found
                .identity
                .handle
                .as_ref()
                .map(ToString::to_string)
                .or_else(|| did.to_image_segment())
                .unwrap_or_default(),
            deletions,
            shows_stars,
            owner,
            chrome,
        },
    );
    if let Ok(link) = HeaderValue::from_str(&format!("<{canonical}>; rel=\"canonical\"")) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}
