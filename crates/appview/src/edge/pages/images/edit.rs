//! `/-/edit`: the owner's text about a repository, with a preview.

use askama::Template;
use atcr_registry::error::{AccessError, RegistryError};
use atcr_web::csrf;
use atcr_web::figures::exact;
use atcr_web::form::Form;
use atcr_web::markdown::{self, Rendered};
use atcr_web::view::{Chrome, render};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::views::claimed_link;
use super::{Head, RepositoryVisit, StarForm};
use crate::browse::address::RepositoryPage;
use crate::edge::dialect::page::{PageError, sign_in_address};
use crate::manage::{MAX_TEXT, OwnText, Saved};
use crate::state::AppState;

/// What the page has to say before the text.
enum News {
    /// Nothing.
    None,
    /// The account has another text meanwhile.
    Conflict { theirs: String },
    /// It is too long to be saved.
    TooLong,
    /// The sign-in ended: the text is kept on the page.
    SignedOut { href: String },
    /// The form is of an earlier sign-in.
    Again,
}

#[derive(Template)]
#[template(path = "pages/images/edit.html")]
struct EditPage {
    chrome: Chrome,
    head: Head,
    csrf_token: String,
    text: String,
    version: String,
    preview: Option<Rendered>,
    news: News,
    /// Longest text, in bytes.
    most: String,
}

/// `GET /-/edit`.
pub(super) async fn show(page: &RepositoryVisit<'_>, state: &AppState) -> Result<Response, PageError> {
    page.require_own()?;
    let there = state
        .manage
        .own_text(&page.owner, &page.repository.card.name)
        .await
        .map_err(PageError::Change)?;
    Ok(answer(page, StatusCode::OK, there, None, News::None))
}

/// `POST /-/edit` with `text`, the `version` that it replaces, and `action=preview` or `save`.
pub(super) async fn submit(
    page: &RepositoryVisit<'_>,
    state: &AppState,
    form: &Form,
) -> Result<Response, PageError> {
    // Browsers send line ends as CRLF.
    let sent = OwnText {
        text: form.get("text").unwrap_or_default().replace("\r\n", "\n"),
        version: form.get("version").unwrap_or_default().to_owned(),
    };
    match page.visit.submitted(form) {
        // Nothing is changed by showing the text again, and nothing of it is lost.
        Err(error @ (PageError::SignInFirst | PageError::OtherSite)) => {
            if !csrf::is_own_page(&page.visit.site, page.visit.headers()) {
                return Err(error);
            }
            let news = match error {
                PageError::SignInFirst => signed_out(page),
                _ => News::Again,
            };
            return Ok(answer(page, StatusCode::UNPROCESSABLE_ENTITY, sent, None, news));
        }
        Err(error) => return Err(error),
        Ok(_) => page.require_own()?,
    }
    if sent.text.len() > MAX_TEXT {
        let refused = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(answer(page, refused, sent, None, News::TooLong));
    }
    if form.get("action") == Some("preview") {
        let source = claimed_link(&page.repository.annotations, "source");
        let source = source.and_then(|link| link.href.parse().ok());
        let preview = markdown::render(&sent.text, source.as_ref());
        return Ok(answer(page, StatusCode::OK, sent, Some(preview), News::None));
    }
    let name = &page.repository.card.name;
    let did = &page.owner.identity.did;
    let saved = state
        .manage
        .save_text(did, &page.owner, name, &sent.text, &sent.version)
        .await;
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    Ok(match saved {
        Ok(Saved::Done) => Redirect::to(&super::News::Saved.after(&page.path)).into_response(),
        Ok(Saved::TooLong) => answer(page, refused, sent, None, News::TooLong),
        Ok(Saved::Conflict(theirs)) => {
            // Saving again replaces the text that is shown now.
            let sent = OwnText {
                version: theirs.version,
                ..sent
            };
            let news = News::Conflict { theirs: theirs.text };
            answer(page, StatusCode::CONFLICT, sent, None, news)
        }
        Err(RegistryError::Access(AccessError::SessionEnded { .. })) => {
            answer(page, refused, sent, None, signed_out(page))
        }
        Err(error) => return Err(PageError::Change(error)),
    })
}

fn signed_out(page: &RepositoryVisit<'_>) -> News {
    News::SignedOut {
        href: sign_in_address(&format!("{}/-/edit", page.path)),
    }
}

fn answer(
    page: &RepositoryVisit<'_>,
    status: StatusCode,
    shown: OwnText,
    preview: Option<Rendered>,
    news: News,
) -> Response {
    let signed_in = page.visit.signed_in.as_ref();
    render(
        status,
        &EditPage {
            head: page.head(&RepositoryPage::Edit),
            csrf_token: signed_in
                .map_or_else(String::new, |signed_in| signed_in.csrf_token.as_str().to_owned()),
            text: shown.text,
            version: shown.version,
            preview,
            news,
            most: exact(MAX_TEXT as u64),
            chrome: page.visit.chrome(),
        },
    )
}
