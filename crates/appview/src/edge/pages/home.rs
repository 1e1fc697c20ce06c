//! The first page: what this is, and what is new.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::images::home::{HomeLists, lists};
use super::visit::Visit;
use crate::edge::dialect::page::PageError;
use crate::state::AppState;
use atcr_web::view::{Chrome, render};

#[derive(Template)]
#[template(path = "pages/home.html")]
struct HomePage {
    chrome: Chrome,
    host: String,
    owner: HomeOwner,
    lists: HomeLists,
}

/// Whose name stands in the commands.
struct HomeOwner {
    name: String,
}

/// `GET /`.
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let visitor = visit.signed_in.as_ref().map(|signed_in| &signed_in.session.did);
    let lists = lists(&state.browse, visitor).await?;
    let chrome = visit.chrome();
    let handle = chrome.visitor.as_ref().map(|visitor| visitor.name.clone());
    Ok(render(
        StatusCode::OK,
        &HomePage {
            host: chrome.host(),
            owner: HomeOwner {
                name: handle.unwrap_or_else(|| "alice.example.com".to_owned()),
            },
            lists,
            chrome,
        },
    ))
}
