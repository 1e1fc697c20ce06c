//! `POST /-/tag`: the owner points a tag at an image of the repository. Where the tag is somewhere else, the page's form asks first.

use askama::Template;
use atcr_oci::{Digest, Reference, Tag};
use atcr_registry::manifest::way_back::TagNow;
use atcr_web::form::Form;
use atcr_web::navigation::address;
use atcr_web::view::{Chrome, render};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::views::DigestView;
use super::{Head, RepositoryVisit, StarForm, image};
use crate::browse::BrowseError;
use crate::browse::address::RepositoryPage;
use crate::edge::dialect::page::PageError;
use crate::state::AppState;

/// Longest text that is shown again in the field, in characters.
const MAX_TYPED: usize = 200;

const MOVED: &str = "The tag was moved since the page was made, so nothing was changed. Go back, reload the page and try again.";

/// Why the form on an image's page is shown again.
pub(super) struct Refusal {
    /// What was typed.
    pub(super) typed: String,
    /// What is wrong with it.
    pub(super) text: &'static str,
}

#[derive(Template)]
#[template(path = "pages/images/move_tag.html")]
struct MoveTagPage {
    chrome: Chrome,
    head: Head,
    csrf_token: String,
    tag: Tag,
    from: DigestView,
    to: DigestView,
}

/// `tag`, `digest` and what the page said of the tag, `now`: a digest, `none`, or nothing. The tag points there from now on; what it
/// pointed at before is in the activity, so it can be moved back. With `ask=true` a tag that points elsewhere is moved only after a
/// question.
pub(super) async fn submit(
    page: &RepositoryVisit<'_>,
    state: &AppState,
    form: &Form,
) -> Result<Response, PageError> {
    page.visit.submitted(form)?;
    page.require_own()?;
    let digest: Option<Digest> = form.get("digest").and_then(|digest| digest.parse().ok());
    let digest = digest.ok_or(PageError::Refused(
        "The form names no image. Nothing was changed.",
    ))?;
    let typed = form.get("tag").unwrap_or_default().trim();
    let Ok(tag) = typed.parse::<Tag>() else {
        let refusal = Refusal {
            typed: typed.chars().take(MAX_TYPED).collect(),
            text: "A tag has letters, digits, points, dashes and underscores, at most 128, and begins with a letter, a digit or an \
                   underscore. Nothing was changed.",
        };
        return image::show(page, &Reference::Digest(digest), Some(refusal)).await;
    };
    let mut now = match form.get("now").unwrap_or_default() {
        "" => TagNow::Any,
        "none" => TagNow::Absent,
        digest => TagNow::At(digest.parse().map_err(|_| PageError::Refused(MOVED))?),
    };
    if form.get("ask") == Some("true") {
        let known = page.browse.index.tag(page.id(), tag.as_str()).await;
        match known.map_err(BrowseError::from)?.and_then(|known| known.digest) {
            Some(from) if from != digest => return Ok(ask(page, tag, &from, &digest)),
            Some(_) => {}
            None => now = TagNow::Absent,
        }
    }
    let (did, name) = (&page.owner.identity.did, &page.repository.card.name);
    let set = state
        .manage
        .set_tag(did, &page.owner, name, tag.clone(), &digest, now)
        .await;
    if !set.map_err(PageError::Change)? {
        return Err(PageError::Refused(MOVED));
    }
    let activity = address(&format!("{}/-/activity", page.path), &[("set", tag.as_str())]);
    Ok(Redirect::to(&activity).into_response())
}

fn ask(page: &RepositoryVisit<'_>, tag: Tag, from: &Digest, to: &Digest) -> Response {
    render(
        StatusCode::OK,
        &MoveTagPage {
            chrome: page.visit.chrome(),
            head: page.head(&RepositoryPage::SetTag),
            csrf_token: page.csrf_token(),
            tag,
            from: DigestView::new(&page.path, from),
            to: DigestView::new(&page.path, to),
        },
    )
}
