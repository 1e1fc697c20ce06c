//! `/-/feed`: moves of a repository's tags as an Atom feed, so that also a rebuild of `latest` appears.
//!
//! # Spec
//! RFC 4287.

use std::fmt::Write as _;

use atcr_index::page::PageRequest;
use atcr_index::view::TagMove;
use axum::body::Body;
use axum::response::Response;
use chrono::SecondsFormat;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::RepositoryVisit;
use crate::browse::BrowseError;
use crate::edge::dialect::page::PageError;

/// Entries of a feed.
const ENTRIES: u32 = 50;

/// The feed.
pub(super) async fn show(page: &RepositoryVisit<'_>) -> Result<Response, PageError> {
    let moves = page
        .browse
        .index
        .tag_moves(page.id(), None, &PageRequest::top(ENTRIES))
        .await
        .map_err(BrowseError::from)?;
    let site = &page.visit.site;
    let name = format!("{}/{}", page.owner.name(), page.repository.card.name);
    let address = site.url(&page.path);
    let updated = moves
        .items
        .first()
        .map_or(page.repository.card.pushed_at, |newest| newest.at);
    let mut feed = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n",
    );
    let _ = write!(
        feed,
        "<title>{0} on {1}</title>\n<id>{2}</id>\n<link href=\"{2}\"/>\n<link rel=\"self\" href=\"{2}/-/feed\"/>\n<updated>{3}</updated>\n<author><name>{4}</name></author>\n",
        escaped(&name),
        escaped(&site.host()),
        escaped(&address),
        updated.to_rfc3339_opts(SecondsFormat::Secs, true),
        escaped(&page.owner.name()),
    );
    for moved in &moves.items {
        entry(&mut feed, &name, &address, moved);
    }
    feed.push_str("</feed>\n");
    let mut response = Response::new(Body::from(feed));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/atom+xml; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}

fn entry(feed: &mut String, name: &str, address: &str, moved: &TagMove) {
    let what = match (&moved.from, &moved.to) {
        (None, _) => "is new",
        (_, None) => "was deleted",
        _ => "moved",
    };
    let at = moved.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let digest = moved.to.as_ref().map(ToString::to_string).unwrap_or_default();
    let _ = write!(
        feed,
        "<entry>\n<title>{name}:{tag} {what}</title>\n<id>{address}:{tag}#{rev}</id>\n<link href=\"{address}:{tag}\"/>\n<updated>{at}</updated>\n<summary>{digest}</summary>\n</entry>\n",
        name = escaped(name),
        tag = escaped(&moved.tag),
        address = escaped(address),
        rev = escaped(&moved.rev),
    );
}

/// Text in XML. Characters that XML does not have are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}
