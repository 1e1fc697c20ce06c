//! The first page.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::visit::Visit;
use atcr_web::view::{Chrome, render};

#[derive(Template)]
#[template(path = "pages/home.html")]
struct HomePage {
    chrome: Chrome,
    host: String,
    /// Whose name stands in the commands.
    owner: String,
}

/// `GET /`: what this is, and how to push.
pub async fn page(visit: Visit) -> Response {
    let chrome = visit.chrome();
    let handle = chrome.visitor.as_ref().map(|visitor| visitor.name.clone());
    render(
        StatusCode::OK,
        &HomePage {
            host: chrome.host(),
            owner: handle.unwrap_or_else(|| "alice.example.com".to_owned()),
            chrome,
        },
    )
}
