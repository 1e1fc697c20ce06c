//! `/settings/appearance`: how pages look in this browser.

use askama::Template;
use atcr_web::appearance::Appearance;
use atcr_web::form::Form;
use atcr_web::navigation::Tab;
use atcr_web::pull::{CLIENTS, Client};
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;

use super::sections;
use crate::edge::dialect::page::PageError;
use crate::edge::pages::visit::Visit;
use crate::state::AppState;

/// A theme to choose: its value, and its name.
const THEMES: [(&str, &str); 3] = [("", "Same as system"), ("light", "Light"), ("dark", "Dark")];

#[derive(Template)]
#[template(path = "pages/settings/appearance.html")]
struct AppearancePage {
    chrome: Chrome,
    sections: Vec<Tab>,
    csrf_token: String,
    theme: &'static str,
    client: &'static str,
    clients: &'static [Client],
    is_saved: bool,
}

impl AppearancePage {
    fn is_theme(&self, value: &str) -> bool {
        self.theme == value
    }

    fn is_client(&self, client: &Client) -> bool {
        self.client == client.id
    }
}

/// `GET /settings/appearance`.
pub async fn page(visit: Visit) -> Response {
    let outcome = show(&visit);
    visit.answer(outcome)
}

fn show(visit: &Visit) -> Result<Response, PageError> {
    let signed_in = visit.signed_in()?;
    let chrome = visit.chrome();
    Ok(render(
        StatusCode::OK,
        &AppearancePage {
            sections: sections("/settings/appearance"),
            csrf_token: signed_in.csrf_token.as_str().to_owned(),
            theme: chrome.appearance.theme.map_or("", |theme| theme.name()),
            client: chrome.appearance.client.map_or("", |client| client.id),
            clients: &CLIENTS,
            is_saved: visit.query().get("saved").is_some(),
            chrome,
        },
    ))
}

/// `POST /settings/appearance` with `theme` and `client`.
pub async fn save(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = keep(&visit, &state, &form);
    visit.answer(outcome)
}

fn keep(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    visit.submitted(form)?;
    let chosen = Appearance::of(
        form.get("theme").unwrap_or_default(),
        form.get("client").unwrap_or_default(),
    );
    let mut response = Redirect::to("/settings/appearance?saved=true").into_response();
    chosen.keep(&state.site, response.headers_mut());
    Ok(response)
}
