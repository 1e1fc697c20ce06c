//! `/auth/oauth/callback`: back from the account's own server.

use atcr_sessions::oauth::{BrowserBinding, CallbackQuery, OAuthFlowError};
use atcr_sessions::web_session::LIFETIME;
use atcr_web::cookies::Cookie;
use atcr_web::return_to::ReturnTo;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use secrecy::ExposeSecret;

use crate::edge::dialect::page::PageError;
use crate::edge::pages::visit::Visit;
use crate::state::AppState;

/// `GET /auth/oauth/callback`.
pub async fn serve(visit: Visit, State(state): State<AppState>) -> Response {
    let outcome = finish(&visit, &state).await;
    visit.answer(outcome)
}

async fn finish(visit: &Visit, state: &AppState) -> Result<Response, PageError> {
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
    let browser = BrowserBinding(binding.expose_secret().to_owned());
    let finished = state.sign_in.finish(callback, &browser).await?;
    let token = state.browsers.open(finished.did.clone(), finished.handle).await?;
    match &visit.signed_in {
        None => {}
        Some(before) if before.session.did == finished.did => state.browsers.close(&before.token).await?,
        // Another account leaves this browser, which may have been its last one.
        Some(before) => {
            state.sign_out.browser(&before.session.did, &before.token).await?;
        }
    }
    // Checked when the sign-in began; once more costs nothing.
    let return_to = ReturnTo::read(Some(&finished.return_to));
    let mut response = Redirect::to(return_to.as_str()).into_response();
    Cookie::Session.set(
        &visit.site,
        response.headers_mut(),
        &token,
        LIFETIME.num_seconds(),
    );
    Ok(response)
}
