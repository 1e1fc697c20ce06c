//! `/learn-more`: how this registry works, for people who know Docker.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::visit::Visit;
use atcr_web::view::{Chrome, render};

#[derive(Template)]
#[template(path = "pages/learn_more.html")]
struct LearnMorePage {
    chrome: Chrome,
}

/// `GET /learn-more`.
pub async fn page(visit: Visit) -> Response {
    render(
        StatusCode::OK,
        &LearnMorePage {
            chrome: visit.chrome(),
        },
    )
}
