//! `/search`: is it here?

use askama::Template;
use atcr_index::fact::Kind;
use atcr_index::search::{Query, ranked};
use atcr_index::view::RepositoryCard;
use atcr_web::figures::Count;
use atcr_web::navigation::{Choice, Paging, address};
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::views::CardView;
use crate::browse::BrowseError;
use crate::browse::address::ImageAddress;
use crate::edge::dialect::page::PageError;
use crate::edge::pages::visit::Visit;
use crate::state::AppState;

/// Results of a page.
pub(in crate::edge) const RESULTS: usize = 20;

#[derive(Template)]
#[template(path = "pages/images/search.html")]
struct SearchPage {
    chrome: Chrome,
    query: String,
    results: Vec<CardView>,
    total: Count,
    kinds: Vec<Choice>,
    orders: Vec<Choice>,
    paging: Paging,
    host: String,
    /// Where the visitor's own images are searched for it.
    affected_href: Option<String>,
}

/// What a search may be narrowed to.
const KINDS: [(&str, &str); 3] = [("image", "Images"), ("chart", "Helm charts"), ("files", "Files")];

/// How results may be sorted.
const ORDERS: [(&str, &str); 4] = [
    ("", "Best match"),
    ("pushed", "Pushed last"),
    ("pulls", "Most pulls"),
    ("stars", "Most stars"),
];

/// `GET /search?q=&kind=&sort=&after=`.
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let typed = visit.query().get("q").unwrap_or_default().trim();
    if let Some(path) = image_in(visit, typed) {
        return Ok(Redirect::to(&path).into_response());
    }
    let kind = visit.query().get("kind").unwrap_or_default().to_owned();
    let sort = visit.query().get("sort").unwrap_or_default().to_owned();
    let now = state.browse.clock.now();
    let (counts, found) = found(state, typed, &kind, &sort).await?;
    let all: usize = counts.iter().map(|(_, count)| count).sum();
    let kinds = kinds(typed, &kind, &sort, &counts);
    let total = found.len();
    let start: usize = visit
        .query()
        .get("after")
        .and_then(|after| after.parse().ok())
        .unwrap_or(0);
    let start = start.min(total);
    let shown = found.iter().skip(start).take(RESULTS);
    let at = |start: usize| {
        let after = start.to_string();
        let after = if start == 0 { "" } else { after.as_str() };
        address(
            "/search",
            &[("q", typed), ("kind", &kind), ("sort", &sort), ("after", after)],
        )
    };
    let chrome = visit.chrome();
    Ok(render(
        StatusCode::OK,
        &SearchPage {
            results: shown.map(|card| CardView::of(card, now)).collect(),
            total: Count(total as u64),
            kinds: if all > 0 { kinds } else { Vec::new() },
            orders: orders(typed, &kind, &sort),
            paging: Paging {
                newest: None,
                newer: (start > 0).then(|| at(start.saturating_sub(RESULTS))),
                older: (start + RESULTS < total).then(|| at(start + RESULTS)),
            },
            query: typed.chars().take(200).collect(),
            host: chrome.host(),
            affected_href: chrome
                .visitor
                .is_some()
                .then(|| address("/affected", &[("q", typed)])),
            chrome,
        },
    ))
}

/// How many results of each kind there are.
type Counts = Vec<(&'static str, usize)>;

/// What is meant by `typed`: how many of each kind, and those of `kind` (or all) in the order `sort`.
pub(in crate::edge) async fn found(
    state: &AppState,
    typed: &str,
    kind: &str,
    sort: &str,
) -> Result<(Counts, Vec<RepositoryCard>), PageError> {
    let query = Query::parse(typed);
    let browse = &state.browse;
    let mut found = if query.is_empty() {
        Vec::new()
    } else {
        let candidates = browse.search.candidates(&query).await;
        ranked(&query, candidates.map_err(BrowseError::from)?, browse.clock.now())
    };
    let counts = KINDS.map(|(id, _)| (id, found.iter().filter(|card| kind_of(card) == id).count()));
    if !kind.is_empty() {
        found.retain(|card| kind_of(card) == kind);
    }
    match sort {
        "pushed" => found.sort_by_key(|card| std::cmp::Reverse(card.pushed_at)),
        "pulls" => found.sort_by_key(|card| std::cmp::Reverse(card.pulls)),
        "stars" => found.sort_by_key(|card| std::cmp::Reverse(card.stars)),
        _ => {}
    }
    Ok((counts.to_vec(), found))
}

/// The page of an image whose name was typed, with or without this registry's host.
fn image_in(visit: &Visit, typed: &str) -> Option<String> {
    let host = visit.site.host();
    let name = typed.trim_start_matches("docker://").trim_start_matches("oci://");
    let name = name
        .strip_prefix(&host)
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(name);
    if !name.contains('/') || name.contains(char::is_whitespace) {
        return None;
    }
    ImageAddress::of_pasted(&format!("/{name}")).map(|address| address.path())
}

fn kind_of(card: &RepositoryCard) -> &'static str {
    match card.kind {
        Some(Kind::Image | Kind::ImageIndex) => "image",
        Some(Kind::HelmChart) => "chart",
        _ => "files",
    }
}

fn kinds(typed: &str, kind: &str, sort: &str, counts: &[(&'static str, usize)]) -> Vec<Choice> {
    let choice = |id: &str, name: &str, count: usize| Choice {
        href: address("/search", &[("q", typed), ("kind", id), ("sort", sort)]),
        name: name.to_owned(),
        count: Some(Count(count as u64)),
        is_current: id == kind,
    };
    let mut choices = vec![choice("", "All", counts.iter().map(|(_, count)| count).sum())];
    for (id, name) in KINDS {
        let count = counts
            .iter()
            .find(|(known, _)| *known == id)
            .map_or(0, |(_, count)| *count);
        if count > 0 || id == kind {
            choices.push(choice(id, name, count));
        }
    }
    choices
}

fn orders(typed: &str, kind: &str, sort: &str) -> Vec<Choice> {
    let choices = ORDERS.iter().map(|(id, name)| Choice {
        href: address("/search", &[("q", typed), ("kind", kind), ("sort", id)]),
        name: (*name).to_owned(),
        count: None,
        is_current: *id == sort,
    });
    choices.collect()
}
