//! Errors as pages.

use std::time::Duration;

use askama::Template;
use atcr_server::request_log::RequestId;
use atcr_server::retry_after;
use atcr_sessions::oauth::OAuthFlowError;
use atcr_web::view::{Chrome, render};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::visit::Visit;
use crate::admin::AdminError;
use crate::admin::import::Unfinished;
use crate::administration::AdministrationError;

/// Tells a page's script to load the page anew.
static HX_REFRESH: HeaderName = HeaderName::from_static("hx-refresh");

/// Why a page is not what was asked for.
#[derive(Debug)]
pub(super) enum PageError {
    /// There is no such page.
    NotFound,
    /// It is for the captain, who is not signed in.
    SignInFirst,
    /// A form that was not sent from one of our pages, or from one that is too old.
    OtherSite,
    /// It did not work.
    Admin(AdminError),
}

impl<E: Into<AdminError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self::Admin(error.into())
    }
}

/// How an error looks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendering {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) text: String,
    retry_after: Option<Duration>,
}

/// Status and words of `error`.
pub(super) fn rendering(error: &PageError) -> Rendering {
    let plain = |status, title, text: &str| Rendering {
        status,
        title,
        text: text.to_owned(),
        retry_after: None,
    };
    match error {
        PageError::NotFound => plain(
            StatusCode::NOT_FOUND,
            "Page not found",
            "Check the address. The page may have been removed.",
        ),
        PageError::SignInFirst => plain(
            StatusCode::UNAUTHORIZED,
            "Sign in first",
            "You are not signed in, or your sign-in has ended. Nothing was changed.",
        ),
        PageError::OtherSite => plain(
            StatusCode::FORBIDDEN,
            "Nothing was changed",
            "This request did not come from a current page of this site. Go back, reload the page and try again.",
        ),
        PageError::Admin(error) => admin(error),
    }
}

fn admin(error: &AdminError) -> Rendering {
    let says = |status, title, text: String| Rendering {
        status,
        title,
        text,
        retry_after: None,
    };
    let failed = || {
        says(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong",
            "This page failed on our side. The hold's log says why. Try again.".to_owned(),
        )
    };
    match error {
        AdminError::NotCaptain { account } => says(
            StatusCode::FORBIDDEN,
            "This site is for the captain only",
            format!(
                "{account} is not the owner of this hold (captain). Nobody else gets in, members with the permission crew:admin \
                 included: they manage the crew with tools that speak XRPC. Ask the captain for what you need."
            ),
        ),
        AdminError::SignIn(error) => sign_in(error),
        AdminError::Limited(limited) => Rendering {
            retry_after: Some(limited.retry_after),
            ..says(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many sign-ins",
                format!(
                    "Wait {} minutes, then try again.",
                    limited.retry_after.as_secs().div_ceil(60).max(1)
                ),
            )
        },
        AdminError::NoMember => says(
            StatusCode::NOT_FOUND,
            "No such member",
            "This account is not a member, or not any more.".to_owned(),
        ),
        AdminError::CaptainStays => says(
            StatusCode::CONFLICT,
            "The captain stays",
            "The captain keeps every permission and cannot be removed.".to_owned(),
        ),
        AdminError::Refused(text) => says(
            StatusCode::UNPROCESSABLE_ENTITY,
            "That did not work",
            text.clone(),
        ),
        AdminError::Import(unfinished) => import(unfinished),
        AdminError::Crew(AdministrationError::Exists { .. }) => says(
            StatusCode::CONFLICT,
            "Already a member",
            "This account has become a member meanwhile. Nothing was changed.".to_owned(),
        ),
        AdminError::Crew(AdministrationError::Swapped) => says(
            StatusCode::CONFLICT,
            "Nothing was changed",
            "The member was changed elsewhere meanwhile. Look again, and repeat what is still wanted."
                .to_owned(),
        ),
        AdminError::Crew(
            error @ (AdministrationError::NotManaged { .. }
            | AdministrationError::NotCrew(_)
            | AdministrationError::NotKnown { .. }
            | AdministrationError::TooLong { .. }),
        ) => says(
            StatusCode::UNPROCESSABLE_ENTITY,
            "That did not work",
            sentence(&error.to_string()),
        ),
        AdminError::Crew(AdministrationError::Blobs(_) | AdministrationError::Repo(_))
        | AdminError::Repo(_)
        | AdminError::Table(_)
        | AdminError::Scans(_)
        | AdminError::Counts(_) => failed(),
    }
}

/// An import that stopped: what was done before is said.
fn import(unfinished: &Unfinished) -> Rendering {
    let why = admin(&unfinished.why);
    if unfinished.done == 0 {
        return why;
    }
    let reason = match &*unfinished.why {
        AdminError::Crew(AdministrationError::Exists { .. }) => {
            "One of the others has become a member meanwhile."
        }
        AdminError::Crew(AdministrationError::Swapped) => {
            "One of the others was changed elsewhere meanwhile."
        }
        _ => &why.text,
    };
    Rendering {
        title: "The import was not finished",
        text: format!(
            "{} were added or changed, and {} were not. {reason} Import the same list again: it shows what is left.",
            members(unfinished.done),
            members(unfinished.left),
        ),
        ..why
    }
}

fn members(count: u64) -> String {
    format!("{count} {}", if count == 1 { "member" } else { "members" })
}

fn sign_in(error: &OAuthFlowError) -> Rendering {
    use OAuthFlowError as Error;
    let (status, title) = match error {
        Error::UnknownAccount { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "No such account"),
        Error::ServerUnavailable { .. } => (StatusCode::BAD_GATEWAY, "Your account server does not answer"),
        Error::ServerRefused { .. } => (StatusCode::BAD_GATEWAY, "Your account server refused the sign-in"),
        Error::Denied { .. } => (StatusCode::FORBIDDEN, "Access was not granted"),
        Error::NoSuchRequest | Error::OtherBrowser => (StatusCode::BAD_REQUEST, "This sign-in has ended"),
        Error::Untrusted { .. } => (StatusCode::BAD_REQUEST, "This sign-in was stopped"),
        Error::ClockSkew { .. } => (StatusCode::BAD_GATEWAY, "The clocks differ"),
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong"),
    };
    Rendering {
        status,
        title,
        text: match error {
            Error::Internal(_) => {
                "This page failed on our side. The hold's log says why. Try again.".to_owned()
            }
            error => sentence(&error.to_string()),
        },
        retry_after: None,
    }
}

/// `text` as a sentence of a page: error texts begin with a small letter and have no full stop, since they are also parts of others.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().collect::<String>());
    let mut sentence = first.unwrap_or_default() + chars.as_str();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// A page that only says something.
#[derive(Template)]
#[template(path = "pages/message.html")]
struct MessagePage<'a> {
    chrome: Chrome,
    title: &'a str,
    text: &'a str,
    offers_sign_in: bool,
    request_id: Option<RequestId>,
}

/// The page that says why a visit did not lead to what was asked for. Logs it, once.
pub(super) fn response(visit: &Visit, error: &PageError) -> Response {
    if matches!(error, PageError::SignInFirst) && visit.method == Method::GET && !visit.wants_part() {
        return Redirect::to("/admin/auth/login").into_response();
    }
    let rendering = rendering(error);
    log(error, rendering.status);
    let page = MessagePage {
        chrome: visit.chrome(),
        title: rendering.title,
        text: &rendering.text,
        offers_sign_in: matches!(
            error,
            PageError::SignInFirst | PageError::Admin(AdminError::SignIn(_) | AdminError::NotCaptain { .. })
        ),
        request_id: RequestId::current(),
    };
    let mut response = render(rendering.status, &page);
    if let Some(wait) = rendering.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, retry_after::header_value(wait));
    }
    if visit.wants_part() {
        // A part of a page has no room for this: the whole page is loaded again, and shows how things are.
        response
            .headers_mut()
            .insert(HX_REFRESH.clone(), HeaderValue::from_static("true"));
    }
    response
}

/// A page that only says something good.
pub(super) fn message(chrome: Chrome, title: &str, text: &str) -> Response {
    let page = MessagePage {
        chrome,
        title,
        text,
        offers_sign_in: false,
        request_id: None,
    };
    render(StatusCode::OK, &page)
}

/// An address of the admin site at which there is nothing. Only the captain hears so.
pub(super) async fn not_found(visit: Visit) -> Response {
    let outcome = visit.captain().map(drop).and(Err(PageError::NotFound));
    visit.answer(outcome)
}

fn log(error: &PageError, status: StatusCode) {
    match error {
        PageError::Admin(error @ AdminError::NotCaptain { .. }) => {
            tracing::warn!(%error, "a sign-in at the admin site was refused");
        }
        PageError::Admin(error) if status.is_server_error() => {
            let cause: &(dyn std::error::Error + 'static) = error;
            tracing::error!(error = cause, "a page of the admin site failed");
        }
        PageError::OtherSite => tracing::warn!("a form from elsewhere was refused"),
        error => tracing::debug!(?error, "a page was refused"),
    }
}
