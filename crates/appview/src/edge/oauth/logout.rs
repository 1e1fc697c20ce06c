//! `/auth/logout`.

use atcr_sessions::sign_out::Left;
use atcr_web::cookies::Cookie;
use atcr_web::form::Form;
use atcr_web::view::Chrome;
use axum::extract::State;
use axum::response::Response;

use crate::edge::dialect::page::{PageError, message};
use crate::edge::pages::visit::Visit;
use crate::state::AppState;

/// `POST /auth/logout`: signs this browser out.
pub async fn serve(visit: Visit, State(state): State<AppState>, form: Form) -> Response {
    let outcome = sign_out(&visit, &state, &form).await;
    visit.answer(outcome)
}

async fn sign_out(visit: &Visit, state: &AppState, form: &Form) -> Result<Response, PageError> {
    let text = if visit.signed_in.is_some() {
        let signed_in = visit.submitted(form)?;
        match state
            .sign_out
            .browser(&signed_in.session.did, &signed_in.token)
            .await?
        {
            Left::Nothing => "No browser and no device is signed in to your account here any more.",
            Left::Others => "Your other browsers and devices stay signed in.",
        }
    } else {
        "You were signed out already."
    };
    let chrome = Chrome {
        visitor: None,
        ..visit.chrome()
    };
    let mut response = message(chrome, "You are signed out", text, Vec::new());
    Cookie::Session.clear(&visit.site, response.headers_mut());
    Ok(response)
}
