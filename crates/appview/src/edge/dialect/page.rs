//! Errors as pages.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use atcr_index::IndexError;
use atcr_registry::error::{AccessError, RegistryError};
use atcr_server::rate_limit::Limited;
use atcr_server::request_log::RequestId;
use atcr_server::retry_after;
use atcr_sessions::SessionError;
use atcr_sessions::oauth::OAuthFlowError;
use atcr_web::appearance::Appearance;
use atcr_web::site::Site;
use atcr_web::view::{Chrome, render};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use url::form_urlencoded;

use super::oci_status;
use crate::browse::BrowseError;
use crate::browse::address::repository_path;
use crate::browse::provenance::ProofError;
use crate::edge::pages::visit::Visit;

/// Tells a page's script to load the page anew.
static HX_REFRESH: HeaderName = HeaderName::from_static("hx-refresh");

/// Why a page is not what was asked for.
#[derive(Debug)]
pub enum PageError {
    /// There is no such page.
    NotFound,
    /// What stands where an account's name belongs is none.
    NoHandle(String),
    /// It is for those who are signed in.
    SignInFirst,
    /// A form that was not sent from one of our pages, or from one that is too old.
    OtherSite,
    /// It cannot be done; the sentence says why.
    Refused(&'static str),
    /// Too often.
    Limited(Limited),
    /// A sign-in did not come about.
    SignIn(OAuthFlowError),
    /// Something went wrong here or behind.
    Failed(SessionError),
    /// There is nothing to show about an image, or it cannot be had.
    Browse(BrowseError),
    /// An image is not proven, or cannot be checked now.
    NoProof(ProofError),
    /// Only the owner may do it.
    NotOwner {
        /// The owner's handle or ID.
        owner: String,
        /// The visitor's.
        visitor: String,
    },
    /// Something that an owner wanted to change was not changed, or not all of it.
    Change(RegistryError),
}

impl From<BrowseError> for PageError {
    fn from(error: BrowseError) -> Self {
        Self::Browse(error)
    }
}

impl From<SessionError> for PageError {
    fn from(error: SessionError) -> Self {
        Self::Failed(error)
    }
}

impl From<Limited> for PageError {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

impl From<OAuthFlowError> for PageError {
    fn from(error: OAuthFlowError) -> Self {
        match error {
            OAuthFlowError::Internal(error) => Self::Failed(error),
            error => Self::SignIn(error),
        }
    }
}

/// How an error looks.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendering {
    /// The status.
    pub status: StatusCode,
    /// The headline.
    pub title: &'static str,
    /// The sentence.
    pub text: String,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Status and words of `error`.
#[must_use]
pub fn rendering(error: &PageError) -> Rendering {
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
        PageError::NoHandle(name) => plain(
            StatusCode::NOT_FOUND,
            "Page not found",
            &format!("{name} is no account's name. A handle has a dot, such as alice.example.com."),
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
        PageError::Refused(text) => plain(StatusCode::BAD_REQUEST, "That did not work", text),
        PageError::Limited(limited) => Rendering {
            retry_after: Some(limited.retry_after),
            ..plain(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests",
                &format!("Wait {}, then try again.", wait(limited.retry_after)),
            )
        },
        PageError::SignIn(error) => sign_in(error),
        PageError::Browse(error) => browse(error),
        PageError::NoProof(ProofError::Refused(refusal)) => plain(
            StatusCode::NOT_FOUND,
            "Not proven",
            &sentence(&refusal.to_string()),
        ),
        PageError::NoProof(ProofError::Unavailable(reason)) => plain(
            StatusCode::BAD_GATEWAY,
            "The proof cannot be had now",
            &sentence(reason),
        ),
        PageError::NotOwner { owner, visitor } => plain(
            StatusCode::FORBIDDEN,
            "Only the owner can do this",
            &format!("Only {owner} can change this; you are signed in as {visitor}."),
        ),
        PageError::Change(error) => registry(error, "That did not work"),
        PageError::Failed(error) => {
            let rendering = oci_status::session_rendering(error);
            let text = match rendering.status {
                StatusCode::INTERNAL_SERVER_ERROR => "This page failed on our side. Try again.".to_owned(),
                _ => sentence(&error.to_string()),
            };
            Rendering {
                status: rendering.status,
                title: "Something went wrong",
                text,
                retry_after: rendering.retry_after,
            }
        }
    }
}

fn browse(error: &BrowseError) -> Rendering {
    let plain = |status, title, text: String| Rendering {
        status,
        title,
        text,
        retry_after: None,
    };
    let not_found = StatusCode::NOT_FOUND;
    match error {
        BrowseError::NoAccount { name } => plain(
            not_found,
            "No such account",
            format!("No account has the name {name}. Handles can change; a permanent ID (did:…) stays."),
        ),
        BrowseError::Moved { name, to } => plain(
            not_found,
            "The account has another name",
            format!("{name} is {to} now."),
        ),
        BrowseError::AccountUnavailable { name, reason } => plain(
            StatusCode::BAD_GATEWAY,
            "The account cannot be looked up now",
            format!("Nothing is known about {name} at the moment: {reason}."),
        ),
        BrowseError::Hidden {
            name,
            is_taken_down: true,
        } => plain(
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            "Taken down",
            format!("This registry does not show the account {name}, by a decision of its moderators."),
        ),
        BrowseError::Hidden { name, .. } => plain(
            not_found,
            "This account is not active",
            format!(
                "{name} was deactivated or deleted at its account server. If it comes back, so do its images."
            ),
        ),
        BrowseError::NoRepository { owner, repository } => plain(
            not_found,
            "No such repository",
            format!("{owner} has no repository {repository}, or this registry has not read it yet."),
        ),
        // Begins with a name, which keeps its small letter.
        BrowseError::NoImage { .. } => plain(
            not_found,
            "No such image",
            format!("{error}. It may have been deleted."),
        ),
        BrowseError::Index(IndexError::Busy) => Rendering {
            retry_after: Some(Duration::from_secs(2)),
            ..plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many searches at once",
                "Try again in a few seconds.".to_owned(),
            )
        },
        BrowseError::Index(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong",
            "This page failed on our side. Try again.".to_owned(),
        ),
        BrowseError::Registry(error) => registry(error, "The image cannot be read now"),
        BrowseError::Manifest(_) => plain(
            StatusCode::BAD_GATEWAY,
            "The image cannot be read",
            "What the account server has under this digest is not a manifest.".to_owned(),
        ),
    }
}

fn registry(error: &RegistryError, title: &'static str) -> Rendering {
    let rendering = oci_status::registry_rendering(error);
    let text = match rendering.status {
        StatusCode::INTERNAL_SERVER_ERROR => "This page failed on our side. Try again.".to_owned(),
        _ => sentence(&error.to_string()),
    };
    Rendering {
        status: rendering.status,
        title,
        text,
        retry_after: rendering.retry_after,
    }
}

/// Where a page that has nothing to show leads to instead.
fn ways_on(error: &PageError, here: &str) -> Vec<(String, String)> {
    match error {
        PageError::Refused(_) => back(here),
        PageError::Browse(BrowseError::NoRepository { owner, .. }) => {
            vec![(format!("/u/{owner}"), format!("Images of {owner}"))]
        }
        PageError::Browse(BrowseError::NoImage {
            owner, repository, ..
        }) => vec![(
            repository_path(owner, repository) + "/-/tags",
            format!("Tags of {owner}/{repository}"),
        )],
        PageError::NotOwner { owner, .. } => {
            vec![(format!("/u/{owner}"), format!("Back to the images of {owner}"))]
        }
        PageError::NoHandle(_) | PageError::Browse(BrowseError::NoAccount { .. }) => {
            vec![("/search".to_owned(), "Search".to_owned())]
        }
        _ => Vec::new(),
    }
}

/// The page that a form of the address `here` is on.
fn back(here: &str) -> Vec<(String, String)> {
    let path = here.split(['?', '#']).next().unwrap_or_default();
    let way = |path: &str, name: &str| vec![(path.to_owned(), name.to_owned())];
    match path.split_once("/-/") {
        Some((repository, _)) if repository.starts_with("/r/") => way(repository, "Back to the repository"),
        _ if path.starts_with("/settings") => way("/settings", "Back to the settings"),
        _ if path.starts_with("/device") => way("/device", "Enter the code again"),
        _ => Vec::new(),
    }
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
            Error::Internal(_) => "This page failed on our side. Try again.".to_owned(),
            error => sentence(&error.to_string()),
        },
        retry_after: None,
    }
}

/// `text` as a sentence of a page: error texts begin with a small letter and have no full stop, since they are also parts of others.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().collect::<String>());
    let mut sentence = first.unwrap_or_default() + chars.as_str();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

fn wait(time: Duration) -> String {
    match time.as_secs().div_ceil(60) {
        0 | 1 => "a minute".to_owned(),
        minutes => format!("{minutes} minutes"),
    }
}

/// The page of an error.
#[derive(Template)]
#[template(path = "pages/message.html")]
struct MessagePage<'a> {
    chrome: Chrome,
    title: &'a str,
    text: &'a str,
    code: Option<u16>,
    sign_in: Option<String>,
    /// Addresses of other pages, and their names.
    ways_on: Vec<(String, String)>,
    /// Under which the log has more.
    request_id: Option<RequestId>,
}

/// The page that says why a visit did not lead to what was asked for. Logs it, once.
#[must_use]
pub fn response(visit: &Visit, error: &PageError) -> Response {
    if matches!(error, PageError::SignInFirst) && visit.method == Method::GET && !visit.wants_part() {
        return Redirect::to(&sign_in_address(&visit.here)).into_response();
    }
    let mut response = error_page(visit.chrome(), error);
    if visit.wants_part() {
        // A part of a page has no room for this: the whole page is loaded again, and shows how things are.
        response
            .headers_mut()
            .insert(HX_REFRESH.clone(), HeaderValue::from_static("true"));
    }
    response
}

/// The page for a client that asks too often. It shows no account: the request was not looked at that far.
#[must_use]
pub fn too_many_requests(site: &Arc<Site>, here: &str, limited: Limited) -> Response {
    let chrome = Chrome {
        site: Arc::clone(site),
        visitor: None,
        here: here.to_owned(),
        appearance: Appearance::default(),
    };
    error_page(chrome, &limited.into())
}

/// The page for a request that was not answered because of a defect. It shows no account.
#[must_use]
pub fn internal(site: &Arc<Site>, here: &str, what: &str) -> Response {
    let chrome = Chrome {
        site: Arc::clone(site),
        visitor: None,
        here: here.to_owned(),
        appearance: Appearance::default(),
    };
    error_page(chrome, &SessionError::internal(what).into())
}

fn error_page(chrome: Chrome, error: &PageError) -> Response {
    log(error);
    let rendering = rendering(error);
    let ways_on = ways_on(error, &chrome.here);
    let sign_in = match error {
        PageError::SignInFirst
        | PageError::SignIn(_)
        | PageError::Change(RegistryError::Access(AccessError::SessionEnded { .. })) => {
            Some("/auth/oauth/login".to_owned())
        }
        _ => None,
    };
    let mut response = render(
        rendering.status,
        &MessagePage {
            chrome,
            title: rendering.title,
            text: &rendering.text,
            code: (rendering.status == StatusCode::NOT_FOUND).then_some(404),
            sign_in,
            ways_on,
            request_id: RequestId::current(),
        },
    );
    if let Some(wait) = rendering.retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, retry_after::header_value(wait));
    }
    response
}

/// A page that only says something, with links to `ways_on`: addresses and their names.
#[must_use]
pub fn message(chrome: Chrome, title: &str, text: &str, ways_on: Vec<(String, String)>) -> Response {
    render(
        StatusCode::OK,
        &MessagePage {
            chrome,
            title,
            text,
            code: None,
            sign_in: None,
            ways_on,
            request_id: None,
        },
    )
}

/// Where one signs in and comes back to `here`.
#[must_use]
pub fn sign_in_address(here: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("return_to", here)
        .finish();
    format!("/auth/oauth/login?{query}")
}

/// Logs `error`, once.
pub(super) fn log(error: &PageError) {
    match error {
        PageError::Browse(BrowseError::Registry(error)) | PageError::Change(error)
            if error.is_own_fault() =>
        {
            let cause = error as &dyn std::error::Error;
            tracing::error!(error = cause, "a page failed");
        }
        PageError::Failed(error) => {
            let cause = error as &dyn std::error::Error;
            tracing::error!(error = cause, "a page failed");
        }
        PageError::Browse(error @ BrowseError::Index(_)) => {
            let cause = error as &dyn std::error::Error;
            tracing::error!(error = cause, "a page failed");
        }
        PageError::Browse(error @ (BrowseError::Registry(_) | BrowseError::Manifest(_))) => {
            let cause = error as &dyn std::error::Error;
            tracing::info!(error = cause, "an image cannot be shown");
        }
        PageError::Change(error) => {
            let cause = error as &dyn std::error::Error;
            tracing::info!(error = cause, "a change by an owner failed");
        }
        PageError::SignIn(error @ (OAuthFlowError::Untrusted { .. } | OAuthFlowError::OtherBrowser)) => {
            tracing::warn!(%error, "a sign-in was refused");
        }
        PageError::SignIn(error) => tracing::info!(%error, "a sign-in failed"),
        PageError::OtherSite => tracing::warn!("a form from elsewhere was refused"),
        other => tracing::debug!(error = ?other, "a page was refused"),
    }
}

#[cfg(test)]
mod tests;
