//! `/components`: every part of the pages, for people who work on them.

use axum::response::Response;

use super::visit::Visit;
use crate::edge::dialect::page::PageError;

/// `GET /components`. Its data is made up, so only a network for development has it.
pub async fn page(visit: Visit) -> Response {
    let outcome = if visit.site.is_development {
        Ok(atcr_web::gallery::page(visit.chrome()))
    } else {
        Err(PageError::NotFound)
    };
    visit.answer(outcome)
}
