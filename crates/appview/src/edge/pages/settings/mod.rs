//! The settings of an account, a page a section.

pub mod appearance;
pub mod data;
pub mod storage;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::devices::DeviceView;
use super::visit::{SignedIn, Visit};
use crate::browse::Owner;
use crate::edge::dialect::page::{PageError, message};
use crate::state::AppState;
use atcr_web::cookies::Cookie;
use atcr_web::form::Form;
use atcr_web::navigation::Tab;
use atcr_web::view::{Chrome, render};

#[derive(Template)]
#[template(path = "pages/settings/account.html")]
struct SettingsPage {
    chrome: Chrome,
    sections: Vec<Tab>,
    did: String,
    handle: Option<String>,
    csrf_token: String,
    host: String,
    devices: Vec<DeviceView>,
    /// Said, and given the focus, by the list that a script gets; a page that is loaded anew begins at its beginning.
    is_one_signed_out: bool,
}

/// The list of devices alone, for a script.
#[derive(Template)]
#[template(path = "parts/devices.html")]
struct DevicesPart {
    chrome: Chrome,
    csrf_token: String,
    host: String,
    devices: Vec<DeviceView>,
    is_one_signed_out: bool,
}

/// The sections, with `current` as the one that is shown.
fn sections(current: &str) -> Vec<Tab> {
    let sections = [
        ("/settings", "Account"),
        ("/settings/storage", "Storage"),
        ("/settings/appearance", "Appearance"),
        ("/settings/data", "Your data"),
    ];
    let tabs = sections.into_iter().map(|(path, name)| Tab {
        href: path.to_owned(),
        name,
        count: None,
        is_current: path == current,
    });
    tabs.collect()
}

/// The account that is signed in.
async fn account_of(visit: &Visit, state: &AppState) -> Result<Owner, PageError> {
    let did = visit.signed_in()?.session.did.clone();
    Ok(state.browse.owner(&did.into()).await?)
}

/// `GET /settings`.
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let signed_in = visit.signed_in()?;
    let chrome = visit.chrome();
    Ok(render(
        StatusCode::OK,
        &SettingsPage {
            sections: sections("/settings"),
            did: signed_in.session.did.to_string(),
            handle: signed_in.session.handle.clone(),
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            host: chrome.host(),
            devices: devices(state, signed_in).await?,
            is_one_signed_out: false,
            chrome,
        },
    ))
}

/// `POST /settings/devices/{id}/revoke`.
pub async fn revoke_device(
    visit: Visit,
    State(state): State<AppState>,
    Path(id): Path<String>,
    form: Form,
) -> Response {
    let outcome = revoke(&visit, &state, &id, &form).await;
    visit.answer(outcome)
}

async fn revoke(visit: &Visit, state: &AppState, id: &str, form: &Form) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    // A device that is gone already needs no error.
    state.sign_out.device(&signed_in.session.did, id).await?;
    if !visit.wants_part() {
        return Ok(Redirect::to("/settings#devices").into_response());
    }
    let chrome = visit.chrome();
    Ok(render(
        StatusCode::OK,
        &DevicesPart {
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            host: chrome.host(),
            devices: devices(state, signed_in).await?,
            is_one_signed_out: true,
            chrome,
        },
    ))
}

/// `POST /settings/sign-out-everywhere`.
pub async fn sign_out_everywhere(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = everywhere(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn everywhere(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    state.sign_out.everything(&signed_in.session.did).await?;
    let chrome = Chrome {
        visitor: None,
        ..visit.chrome()
    };
    let mut response = message(
        chrome,
        "You are signed out everywhere",
        "Every browser, device and Docker client of yours has to sign in again, and this registry can no longer act for your \
         account. Your images are unchanged. To end an app password itself, delete it at your account server.",
        Vec::new(),
    );
    Cookie::Session.clear(&visit.site, response.headers_mut());
    Ok(response)
}

async fn devices(state: &AppState, signed_in: &SignedIn) -> Result<Vec<DeviceView>, PageError> {
    let (devices, now) = (
        state.devices.list(&signed_in.session.did).await?,
        state.clock.now(),
    );
    Ok(devices
        .iter()
        .map(|device| DeviceView::new(device, now))
        .collect())
}
