//! What pages show, for programs: `/api/v1/`. The addresses are those of the pages, with this in front: `/api/v1/r/alice.example/app/-/tags`.
//! Everything in it is public, so no sign-in counts and every site may read it.
//!
//! - [`views`]: the shapes of answers
//! - [`openapi`]: their description, made from the same types

mod openapi;
mod views;

use atcr_atproto::syntax::AtIdentifier;
use atcr_index::change::Proof;
use atcr_index::page::Page;
use atcr_index::view::{RepositoryView, TagFilter, TagOrder};
use atcr_oci::{Digest, Reference};
use atcr_web::navigation::address;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use self::views::{
    Account, Image, List, Manifest, Move, Owner, Repository, RepositoryDetails, SearchResults, Star, Tag,
};
use crate::browse::address::{ImageAddress, RepositoryPage};
use crate::browse::{Browse, BrowseError, Owner as AccountOwner};
use crate::edge::dialect::json::refused;
use crate::edge::dialect::page::PageError;
use crate::edge::pages::images::page_request;
use crate::edge::pages::images::search::{RESULTS, found};
use crate::edge::pages::visit::Visit;
use crate::state::AppState;

/// Rows of a list.
const ROWS: u32 = 100;

/// An answer that every site may read, and that is asked for again each time: nobody may see the state before an acknowledged push.
fn answer(body: &impl Serialize) -> Response {
    opened(crate::edge::response::json(StatusCode::OK, body))
}

fn opened(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn settled(outcome: Result<Response, PageError>) -> Response {
    outcome.unwrap_or_else(|error| opened(refused(&error)))
}

/// `GET /api/v1/openapi.json`.
pub async fn description(State(state): State<AppState>) -> Response {
    answer(&openapi::document(&state.site.url("")))
}

/// `GET /api/v1/search?q=&kind=&sort=&after=`.
pub async fn search(visit: Visit, State(state): State<AppState>) -> Response {
    settled(results(&visit, &state).await)
}

async fn results(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let query = visit.query();
    let field = |name: &str| query.get(name).unwrap_or_default().trim();
    let (typed, kind, sort) = (field("q"), field("kind"), field("sort"));
    let cards = found(state, typed, kind, sort).await?.1;
    let start: usize = field("after").parse().unwrap_or(0).min(cards.len());
    let end = start.saturating_add(RESULTS).min(cards.len());
    let after = end.to_string();
    let next = (end < cards.len()).then(|| {
        let query = [
            ("q", typed),
            ("kind", kind),
            ("sort", sort),
            ("after", after.as_str()),
        ];
        state.site.url(&address("/api/v1/search", &query))
    });
    let shown = cards.iter().skip(start).take(RESULTS);
    Ok(answer(&SearchResults {
        total: cards.len() as u64,
        items: shown.map(|card| Repository::of(card, &state.site)).collect(),
        next,
    }))
}

/// `GET /api/v1/u/{identity}`: the account and its repositories.
pub async fn account(visit: Visit, State(state): State<AppState>, Path(identity): Path<String>) -> Response {
    settled(of_account(&visit, &state, &identity).await)
}

async fn of_account(visit: &Visit, state: &AppState, identity: &str) -> Result<Response, PageError> {
    let identifier: AtIdentifier = identity.parse().map_err(|_| PageError::NotFound)?;
    let owner = state.browse.owner(&identifier).await?;
    let request = page_request(visit.query(), ROWS);
    let page = state
        .browse
        .index
        .repositories_of(&owner.identity.did, &request)
        .await
        .map_err(BrowseError::from)?;
    let account = owner.account.as_ref();
    Ok(answer(&Account {
        owner: Owner::new(&owner.identity.did, owner.identity.handle.as_ref()),
        server: owner.identity.pds.as_ref().map(atcr_web::site::authority),
        repositories: account.map_or(0, |account| account.repositories),
        stars_given: account.map_or(0, |account| account.stars_given),
        list: list(visit, state, page, |card| Repository::of(card, &state.site)),
    }))
}

/// A page of a list, each row made by `view`.
fn list<T, U>(visit: &Visit, state: &AppState, page: Page<T>, view: impl Fn(&T) -> U) -> List<U> {
    let next = page.older.as_ref().map(|position| {
        let position = position.to_string();
        let kept = ["filter", "sort", "kind"].map(|name| (name, visit.query().get(name).unwrap_or_default()));
        let mut query = kept.to_vec();
        query.push(("after", &position));
        state.site.url(&address(visit.path(), &query))
    });
    List {
        items: page.items.iter().map(view).collect(),
        next,
    }
}

/// `GET /api/v1/r/{identity}/{*rest}`.
pub async fn repository(
    visit: Visit,
    State(state): State<AppState>,
    Path((identity, rest)): Path<(String, String)>,
) -> Response {
    let outcome = match ImageAddress::parse(&identity, &rest) {
        Some(address) => of_repository(&visit, &state, &address).await,
        None => Err(PageError::NotFound),
    };
    settled(outcome)
}

async fn of_repository(
    visit: &Visit,
    state: &AppState,
    address: &ImageAddress,
) -> Result<Response, PageError> {
    let browse = state.browse.as_ref();
    let owner = browse.owner(&address.owner).await?;
    let found = browse.repository(&owner, &address.repository).await?;
    let (index, id, query) = (&browse.index, found.card.id, visit.query());
    let request = page_request(query, ROWS);
    match &address.view {
        RepositoryPage::Overview => details(state, &found).await,
        RepositoryPage::Image(reference) => image(browse, &owner, &found, reference).await,
        RepositoryPage::Tags => {
            let filter = TagFilter {
                text: query
                    .get("filter")
                    .unwrap_or_default()
                    .chars()
                    .take(128)
                    .collect(),
                fallback: query.get("kind") == Some("referrers"),
                order: match query.get("sort") {
                    Some("version") => TagOrder::Version,
                    _ => TagOrder::Newest,
                },
            };
            let page = index
                .tags(id, &filter, &request)
                .await
                .map_err(BrowseError::from)?;
            Ok(answer(&list(visit, state, page, Tag::of)))
        }
        RepositoryPage::Manifests => {
            let page = index
                .manifests(id, None, &request)
                .await
                .map_err(BrowseError::from)?;
            Ok(answer(&list(visit, state, page, Manifest::listed)))
        }
        RepositoryPage::Referrers => {
            let page = index
                .all_referrers(id, &request)
                .await
                .map_err(BrowseError::from)?;
            Ok(answer(&list(visit, state, page, Manifest::listed)))
        }
        RepositoryPage::Activity => {
            let page = index
                .tag_moves(id, None, &request)
                .await
                .map_err(BrowseError::from)?;
            Ok(answer(&list(visit, state, page, Move::of)))
        }
        RepositoryPage::Stars => {
            let page = index
                .stars_of(&owner.identity.did, &address.repository, &request)
                .await
                .map_err(BrowseError::from)?;
            Ok(answer(&list(visit, state, page, Star::of)))
        }
        _ => Err(PageError::NotFound),
    }
}

async fn details(state: &AppState, found: &RepositoryView) -> Result<Response, PageError> {
    let holds = state.browse.index.holds_of(found.card.id).await;
    let holds = holds.map_err(BrowseError::from)?;
    Ok(answer(&RepositoryDetails::of(found, &holds, &state.site)))
}

async fn image(
    browse: &Browse,
    owner: &AccountOwner,
    found: &RepositoryView,
    reference: &Reference,
) -> Result<Response, PageError> {
    let (index, id) = (&browse.index, found.card.id);
    let missing = || BrowseError::NoImage {
        owner: owner.name(),
        repository: found.card.name.clone(),
        reference: reference.to_string(),
    };
    let digest: Digest = match reference {
        Reference::Digest(digest) => digest.clone(),
        Reference::Tag(tag) => {
            let tag = index.tag(id, tag.as_str()).await.map_err(BrowseError::from)?;
            tag.and_then(|tag| tag.digest).ok_or_else(missing)?
        }
    };
    let view = index.manifest(id, &digest).await.map_err(BrowseError::from)?;
    let view = view.ok_or_else(missing)?;
    let scans = index.scans(&owner.identity.did, &digest).await;
    let scans = scans.map_err(BrowseError::from)?;
    let is_signed = view.proof == Proof::Signed;
    Ok(answer(&Image::of(
        &owner.identity.did,
        &view,
        is_signed,
        scans.first(),
    )))
}
