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
    /// The account's name in images' names; somebody's for a visitor who is not signed in.
    push_as: String,
    lists: HomeLists,
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
    let push_as = visit.signed_in.as_ref().and_then(|signed_in| {
        let session = &signed_in.session;
        session.handle.clone().or_else(|| session.did.to_image_segment())
    });
    Ok(render(
        StatusCode::OK,
        &HomePage {
            host: chrome.host(),
            push_as: push_as.unwrap_or_else(|| "alice.example.com".to_owned()),
            lists,
            chrome,
        },
    ))
}
