//! `/device`: a person says yes or no to a device that wants to be signed in.
//!
//! # Security
//! An attacker may send a victim the code of a device of theirs (RFC 8628 §5.4). No check of ours can tell. So the page shows
//! all that is known of the device, says what a yes means, and takes it only by a button on this very page.

use std::net::IpAddr;

use askama::Template;
use atcr_auth::device::{Approval, Decision, PendingDevice, UserCode};
use atcr_server::client_address::client_key;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use url::form_urlencoded;

use super::visit::{SignedIn, Visit};
use crate::edge::dialect::page::{PageError, sign_in_address};
use crate::state::AppState;
use atcr_web::form::Form;
use atcr_web::moment::Moment;
use atcr_web::view::{Chrome, render};

#[derive(Template)]
#[template(path = "pages/device_code.html")]
struct CodePage {
    chrome: Chrome,
    typed: String,
    error: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "pages/approve_device.html")]
struct ApprovePage {
    chrome: Chrome,
    account: String,
    csrf_token: String,
    code: String,
    device: String,
    address: Option<IpAddr>,
    comparison: Comparison,
    asked: Moment,
}

/// Whether a device is where the visitor is.
enum Comparison {
    Same,
    /// The visitor's address is this one.
    Other(IpAddr),
    /// One of the two addresses is a proxy's, and would be the same for every client.
    Unknown,
}

impl Comparison {
    fn of(device: Option<IpAddr>, visitor: Option<IpAddr>) -> Self {
        match (device, visitor) {
            (Some(device), Some(visitor)) if client_key(device) == client_key(visitor) => Self::Same,
            (Some(_), Some(visitor)) => Self::Other(visitor),
            _ => Self::Unknown,
        }
    }
}

#[derive(Template)]
#[template(path = "pages/device_decided.html")]
struct DecidedPage {
    chrome: Chrome,
    account: String,
    is_approved: bool,
}

/// The answer to a code that no device waits with. It does not tell which of the reasons it is.
const UNKNOWN: &str = "No device is waiting with this code. A code works once, within ten minutes.";

/// `GET /device?user_code=`.
pub async fn page(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = show(&visit, &state).await;
    visit.answer(outcome)
}

async fn show(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
    let signed_in = visit.signed_in()?;
    let Some(typed) = visit.query().get("user_code") else {
        return Ok(ask(visit, "", None));
    };
    let Ok(code) = typed.parse::<UserCode>() else {
        // One of the right form has letters that no code has: then no device waits with it.
        let bare = typed.chars().filter(|c| c.is_ascii_alphanumeric());
        let error = match bare.count() {
            8 => UNKNOWN,
            _ => "A code has four letters and four digits, for example BCDF-1234.",
        };
        return Ok(ask(visit, typed, Some(error)));
    };
    let Some(device) = find(visit, state, signed_in, &code).await? else {
        return Ok(ask(visit, typed, Some(UNKNOWN)));
    };
    if !state.sign_in.is_live(&signed_in.session.did).await? {
        // A device would get a secret that is of no use.
        return Ok(Redirect::to(&sign_in_address(&visit.here)).into_response());
    }
    let chrome = visit.chrome();
    Ok(render(
        StatusCode::OK,
        &ApprovePage {
            account: account(signed_in),
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            code: device.user_code.to_string(),
            device: device.name.to_string(),
            address: device.address,
            comparison: Comparison::of(device.address, visit.client.own),
            asked: Moment::new(device.created_at, state.clock.now()),
            chrome,
        },
    ))
}

/// `POST /device/approve` with `user_code` and `approve=true` or `false`.
pub async fn decide(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = keep(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn keep(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    let signed_in = visit.submitted(form)?;
    let typed = form.get("user_code").unwrap_or_default();
    let Ok(code) = typed.parse::<UserCode>() else {
        return Ok(ask(visit, typed, Some(UNKNOWN)));
    };
    let is_approved = match form.get("approve") {
        Some("true") => true,
        Some("false") => false,
        _ => return Err(PageError::Refused("Choose Approve or Deny.")),
    };
    if find(visit, state, signed_in, &code).await?.is_none() {
        return Ok(ask(visit, typed, Some(UNKNOWN)));
    }
    let session = &signed_in.session;
    let decision = if is_approved {
        if !state.sign_in.is_live(&session.did).await? {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("user_code", code.as_str())
                .finish();
            let address = sign_in_address(&format!("/device?{query}"));
            return Ok(Redirect::to(&address).into_response());
        }
        Decision::Approved(Approval {
            did: session.did.clone(),
            handle: session.handle.clone(),
        })
    } else {
        Decision::Denied
    };
    if !state.devices.decide(&code, decision).await? {
        return Ok(ask(visit, typed, Some(UNKNOWN)));
    }
    tracing::info!(did = %session.did, is_approved, "a device was approved or denied");
    Ok(render(
        StatusCode::OK,
        &DecidedPage {
            chrome: visit.chrome(),
            account: account(signed_in),
            is_approved,
        },
    ))
}

/// The device that waits with `code`. Misses are counted: codes are short enough to guess, given time.
async fn find(
    visit: &Visit,
    state: &AppState,
    signed_in: &SignedIn,
    code: &UserCode,
) -> Result<Option<PendingDevice>, PageError> {
    let limits = &state.limits;
    let (client, account) = (
        client_key(visit.client.counted),
        signed_in.session.did.to_string(),
    );
    limits.code_guesses.check(&client)?;
    limits.code_guesses_of_account.check(&account)?;
    let found = state.devices.waiting(code).await?;
    if found.is_none() {
        // Racing guesses may pass the check together; each still counts.
        let _ = limits.code_guesses.take(&client);
        let _ = limits.code_guesses_of_account.take(&account);
    }
    Ok(found)
}

fn ask(visit: &Visit, typed: &str, error: Option<&'static str>) -> Response {
    let status = if error.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    render(
        status,
        &CodePage {
            chrome: visit.chrome(),
            typed: typed.chars().take(20).collect(),
            error,
        },
    )
}

fn account(signed_in: &SignedIn) -> String {
    let session = &signed_in.session;
    session.handle.clone().unwrap_or_else(|| session.did.to_string())
}
