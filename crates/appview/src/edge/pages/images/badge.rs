//! `/-/badge/{what}.svg`: a picture for READMEs elsewhere: pulls, the newest tag, the size.

use std::fmt::Write as _;

use atcr_web::figures::exact;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::RepositoryVisit;
use super::views::ContentView;
use crate::browse::BrowseError;
use crate::browse::address::BadgeKind;
use crate::edge::dialect::page::PageError;

/// Longest text on a badge, in characters.
const MAX_TEXT: usize = 40;

/// The badge.
pub(super) async fn show(page: &RepositoryVisit<'_>, kind: BadgeKind) -> Result<Response, PageError> {
    let index = &page.browse.index;
    let tag = match (&page.repository.pull_tag, kind) {
        (Some(name), BadgeKind::Size) => index.tag(page.id(), name).await.map_err(BrowseError::from)?,
        _ => None,
    };
    let (label, text) = match kind {
        BadgeKind::Pulls => ("pulls", exact(page.repository.card.pulls)),
        BadgeKind::Tag => (
            "image",
            page.repository
                .pull_tag
                .clone()
                .unwrap_or_else(|| "no tag".to_owned()),
        ),
        BadgeKind::Size => (
            "size",
            tag.and_then(|tag| tag.manifest)
                .and_then(|manifest| ContentView::of(&page.path, &manifest).size)
                .unwrap_or_else(|| "not recorded".to_owned()),
        ),
    };
    let mut response = Response::new(Body::from(svg(label, &text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}

/// A badge with `label` and `text`.
fn svg(label: &str, text: &str) -> String {
    let text: String = text
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_TEXT)
        .collect();
    // Letters of the font that most machines have for this are about 7 wide.
    let width = |text: &str| text.chars().count() * 7 + 12;
    let (left, right) = (width(label), width(&text));
    let escaped = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"20\" role=\"img\" aria-label=\"{label}: {escaped}\">\
         <clipPath id=\"r\"><rect width=\"{total}\" height=\"20\" rx=\"4\"/></clipPath><g clip-path=\"url(#r)\">\
         <rect width=\"{left}\" height=\"20\" fill=\"#455463\"/><rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"#0f4f86\"/></g>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{label_at}\" y=\"14\">{label}</text><text x=\"{text_at}\" y=\"14\">{escaped}</text></g></svg>",
        total = left + right,
        label_at = left / 2,
        text_at = left + right / 2,
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_has_no_markup_of_others() {
        let badge = svg("image", "<script>\"&\u{7}");
        assert!(badge.contains("&lt;script&gt;&quot;&amp;</text>"), "{badge}");
        assert!(!badge.contains("<script"));
        assert!(svg("image", &"x".repeat(500)).len() < 1000);
    }
}
