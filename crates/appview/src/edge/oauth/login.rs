//! `/auth/oauth/login`: the way to the account's own server.
//!
//! A link can show the form, filled in; only the form's button begins a sign-in, and only in the browser that showed it.

use askama::Template;
use atcr_server::client_address::client_key;
use atcr_sessions::oauth::{BrowserBinding, FlowStart, OAuthFlowError};
use atcr_web::cookies::Cookie;
use atcr_web::csrf;
use atcr_web::form::Form;
use atcr_web::return_to::ReturnTo;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};

use crate::edge::dialect::page::{PageError, rendering};
use crate::edge::pages::visit::Visit;
use crate::state::AppState;
use atcr_web::security_headers::allow_sign_in;

/// How long a browser keeps its part of a sign-in, in seconds; longer than a person takes.
const SIGN_IN_SECONDS: i64 = 20 * 60;

/// Longest handle that is shown again, in characters.
const MAX_SHOWN: usize = 256;

#[derive(Template)]
#[template(path = "pages/sign_in.html")]
struct SignInPage {
    chrome: Chrome,
    handle: String,
    return_to: ReturnTo,
    /// What the sign-in is for, when a device waits for it.
    is_for_device: bool,
    error: Option<String>,
}

/// `GET /auth/oauth/login` and `GET /auth/oauth/authorize`, with `handle` and `return_to`.
pub async fn page(visit: Visit) -> Response {
    let query = visit.query();
    let known = visit
        .signed_in
        .as_ref()
        .and_then(|signed_in| signed_in.session.handle.as_deref());
    let handle = query.get("handle").or(known).unwrap_or_default();
    show(&visit, handle, ReturnTo::read(query.get("return_to")), None)
}

/// `POST /auth/oauth/login` and `POST /auth/oauth/authorize`: begins.
pub async fn start(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = begin(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn begin(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    if !csrf::is_own_page(&visit.site, visit.headers()) {
        return Err(PageError::OtherSite);
    }
    let return_to = ReturnTo::read(form.get("return_to"));
    let Some(handle) = form
        .get("handle")
        .map(str::trim)
        .filter(|handle| !handle.is_empty())
    else {
        let error = "Enter the handle of your account.".to_owned();
        return Ok(show(
            visit,
            "",
            return_to,
            Some((StatusCode::UNPROCESSABLE_ENTITY, error)),
        ));
    };
    state.limits.sign_ins.take(&client_key(visit.client.counted))?;
    // Kept if it is there: another tab may be on its way.
    let binding = Cookie::SignIn
        .read(&visit.site, visit.headers())
        .unwrap_or_else(|| SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())));
    let start = FlowStart {
        return_to: return_to.as_str().to_owned(),
        browser: BrowserBinding(binding.expose_secret().to_owned()),
    };
    match state.sign_in.start(handle, start).await {
        Ok(url) => {
            let mut response = Redirect::to(url.as_str()).into_response();
            Cookie::SignIn.set(&visit.site, response.headers_mut(), &binding, SIGN_IN_SECONDS);
            Ok(response)
        }
        Err(error @ OAuthFlowError::Internal(_)) => Err(error.into()),
        Err(error) => {
            tracing::info!(%error, "a sign-in cannot begin");
            let rendering = rendering(&error.into());
            Ok(show(
                visit,
                handle,
                return_to,
                Some((rendering.status, rendering.text)),
            ))
        }
    }
}

fn show(visit: &Visit, handle: &str, return_to: ReturnTo, error: Option<(StatusCode, String)>) -> Response {
    let status = error.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let page = SignInPage {
        chrome: visit.chrome(),
        handle: handle
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_SHOWN)
            .collect(),
        is_for_device: return_to.as_str().starts_with("/device"),
        return_to,
        error: error.map(|(_, text)| text),
    };
    let mut response = render(status, &page);
    allow_sign_in(&visit.site, &mut response);
    response
}
