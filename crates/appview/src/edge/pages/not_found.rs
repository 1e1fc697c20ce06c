//! What is not there.

use atcr_atproto::syntax::AtIdentifier;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::ACCEPT;
use http::{Method, StatusCode};

use super::visit::Visit;
use crate::browse::address::ImageAddress;
use crate::edge::dialect::page::{PageError, response};
use crate::edge::response::json_error;

/// The page of an account or repository that `path` spells another way: with a slash at its end, or with the account alone.
fn other_spelling(path: &str) -> Option<String> {
    let bare = path.trim_end_matches('/');
    let is_account = |name: &str| name.contains('.') || name.starts_with("did:");
    let name = bare.strip_prefix("/r/").or_else(|| bare.strip_prefix('/'))?;
    if is_account(name) && !name.contains('/') {
        let owner: AtIdentifier = name.parse().ok()?;
        return Some(format!("/u/{owner}"));
    }
    (bare.len() < path.len() && bare.starts_with("/u/")).then(|| bare.to_owned())
}

/// Every address that no route has. An image's name behind this server's address, as people paste it, leads to the image's page.
pub async fn serve(visit: Visit) -> Response {
    let is_read = matches!(visit.method, Method::GET | Method::HEAD);
    if is_read && let Some(address) = ImageAddress::of_pasted(visit.path()) {
        return Redirect::permanent(&address.path()).into_response();
    }
    if is_read && let Some(path) = other_spelling(visit.path()) {
        return Redirect::permanent(&path).into_response();
    }
    let wants_page = visit
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if wants_page {
        return response(&visit, &PageError::NotFound);
    }
    json_error(
        StatusCode::NOT_FOUND,
        "NotFound",
        "there is nothing at this address",
    )
}
