//! `/admin/auth/…`: the captain's way in and out, and who the hold is as an OAuth client.

use std::sync::Arc;

use askama::Template;
use atcr_sessions::oauth::{BrowserBinding, CallbackQuery, OAuthFlowError};
use atcr_web::cookies::Cookie;
use atcr_web::csrf;
use atcr_web::form::Form;
use atcr_web::security_headers::allow_sign_in;
use atcr_web::view::{Chrome, render};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::PagesState;
use super::error::{PageError, message, rendering};
use super::visit::Visit;
use crate::admin::AdminError;
use crate::admin::sessions::LIFETIME;

/// How long a browser keeps its part of a sign-in, in seconds; longer than a person takes.
const SIGN_IN_SECONDS: i64 = 20 * 60;
/// Longest handle that is shown again, in characters.
const MAX_SHOWN: usize = 256;

#[derive(Template)]
#[template(path = "pages/sign_in.html")]
struct SignInPage {
    chrome: Chrome,
    handle: String,
    hours: i64,
    error: Option<String>,
}

/// `GET /admin/auth/login`.
pub(super) async fn page(visit: Visit) -> Response {
    if visit.signed_in().is_ok() {
        return Redirect::to("/admin").into_response();
    }
    show(&visit, "", None)
}

/// `POST /admin/auth/login`, and `/admin/auth/oauth/authorize`: begins.
pub(super) async fn start(visit: Visit, State(state): State<PagesState>, form: Form) -> Response {
    let outcome = begin(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn begin(visit: &Visit, state: &PagesState, form: &Form) -> Result<Response, PageError> {
    if !csrf::is_own_page(&visit.site, visit.headers()) {
        return Err(PageError::OtherSite);
    }
    let handle = form.get("handle").unwrap_or_default().trim();
    if handle.is_empty() {
        let error = "Enter the handle of your account.".to_owned();
        return Ok(show(visit, "", Some((StatusCode::UNPROCESSABLE_ENTITY, error))));
    }
    // Kept if it is there: another tab may be on its way.
    let binding = Cookie::SignIn
        .read(&visit.site, visit.headers())
        .unwrap_or_else(|| SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())));
    let browser = BrowserBinding(binding.expose_secret().to_owned());
    match state.sign_in.begin(handle, browser, &visit.client).await {
        Ok(url) => {
            let mut response = Redirect::to(url.as_str()).into_response();
            Cookie::SignIn.set(&visit.site, response.headers_mut(), &binding, SIGN_IN_SECONDS);
            Ok(response)
        }
        Err(AdminError::SignIn(error)) if !matches!(error, OAuthFlowError::Internal(_)) => {
            tracing::info!(%error, "a sign-in at the admin site cannot begin");
            let rendering = rendering(&error.into());
            Ok(show(visit, handle, Some((rendering.status, rendering.text))))
        }
        Err(error) => Err(error.into()),
    }
}

fn show(visit: &Visit, handle: &str, error: Option<(StatusCode, String)>) -> Response {
    let status = error.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let page = SignInPage {
        chrome: visit.chrome(),
        handle: handle
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_SHOWN)
            .collect(),
        hours: LIFETIME.num_hours(),
        error: error.map(|(_, text)| text),
    };
    let mut response = render(status, &page);
    allow_sign_in(&visit.site, &mut response);
    response
}

/// `GET /admin/auth/oauth/callback`: back from the captain's own server.
pub(super) async fn callback(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = finish(&visit, &state).await;
    visit.answer(outcome)
}

async fn finish(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let binding = Cookie::SignIn
        .read(&visit.site, visit.headers())
        .ok_or(OAuthFlowError::OtherBrowser)?;
    let query = visit.query();
    let callback = CallbackQuery {
        code: query.take("code"),
        state: query.take("state"),
        iss: query.take("iss"),
        error: query.take("error"),
        error_description: query.take("error_description"),
    };
    let binding = BrowserBinding(binding.expose_secret().to_owned());
    let token = state
        .sign_in
        .finish(callback, &binding, visit.browser.clone())
        .await?;
    if let Ok(before) = visit.signed_in() {
        state.sign_in.sign_out(&before.token).await?;
    }
    let mut response = Redirect::to("/admin").into_response();
    Cookie::Session.set(
        &visit.site,
        response.headers_mut(),
        &token,
        LIFETIME.num_seconds(),
    );
    Ok(response)
}

/// `POST /admin/auth/logout`.
pub(super) async fn sign_out(visit: Visit, State(state): State<PagesState>, form: Form) -> Response {
    let outcome = async {
        if visit.signed_in().is_ok() {
            let signed_in = visit.submitted(&form)?;
            state.sign_in.sign_out(&signed_in.token).await?;
        }
        let chrome = Chrome {
            visitor: None,
            ..visit.chrome()
        };
        let mut response = message(
            chrome,
            "You are signed out",
            "This browser can no longer change anything here.",
        );
        Cookie::Session.clear(&visit.site, response.headers_mut());
        Ok(response)
    };
    visit.answer(outcome.await)
}

/// `GET /oauth-client-metadata.json`. Servers fetch it at every sign-in, so it is cached shortly.
pub(super) async fn client_metadata(State(state): State<PagesState>) -> Response {
    public(serde_json::to_value(state.registration.metadata()).unwrap_or_default())
}

/// `GET /oauth-jwks.json`: the key set alone, which is in the metadata, too.
pub(super) async fn jwks(State(state): State<PagesState>) -> Response {
    public(Arc::clone(&state.registration).jwks())
}

fn public(document: Value) -> Response {
    let mut response = Json(document).into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
