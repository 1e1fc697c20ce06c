//! `/admin/identity`: who the hold is to the network.

use askama::Template;
use atcr_atproto::crypto::PublicKey;
use atcr_atproto::identity::hold_endpoint;
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::PagesState;
use super::frame::Frame;
use super::visit::Visit;
use crate::settings::IdentitySettings;

#[derive(Template)]
#[template(path = "pages/identity.html")]
struct IdentityPage {
    chrome: Chrome,
    frame: Frame,
    did: String,
    handle: String,
    endpoint: String,
    /// The key that signs records, as a did:key.
    signing_key: String,
    /// The key of the OAuth client, if it has one.
    client_key: Option<String>,
    key_path: String,
    directory: Option<String>,
    served: String,
    seen: Result<SeenView, String>,
    halted: Option<String>,
}

/// What the network finds under the DID.
struct SeenView {
    handle: Option<String>,
    endpoint: Option<String>,
    key: Option<String>,
    /// The key that it names is the one that signs.
    is_same: bool,
}

/// `GET /admin/identity`: the document as it is served, and as the network sees it.
pub(super) async fn page(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = async {
        let frame = Frame::new(&visit, "/admin/identity")?;
        let served = state.identity.document();
        let signing_key = state.repo.public_key().to_did_key();
        let seen = state.accounts.resolve(state.identity.did().as_str()).await;
        let seen = seen.map(|seen| {
            let key = seen.signing_key.as_ref().map(PublicKey::to_did_key);
            SeenView {
                handle: seen.handle.as_ref().map(ToString::to_string),
                endpoint: hold_endpoint(&seen).map(|url| url.to_string()),
                is_same: key.as_deref() == Some(signing_key.as_str()),
                key,
            }
        });
        let page = IdentityPage {
            chrome: visit.chrome(),
            frame,
            did: state.identity.did().to_string(),
            handle: state.identity.handle().to_owned(),
            endpoint: state.identity.endpoint().to_owned(),
            signing_key,
            client_key: state.registration.key_id().map(str::to_owned),
            key_path: state.settings.key_path.display().to_string(),
            directory: match &state.settings.identity {
                IdentitySettings::Plc(_) => Some(state.settings.plc_directory.to_string()),
                IdentitySettings::Web(_) => None,
            },
            served: serde_json::to_string_pretty(&served).unwrap_or_default(),
            seen,
            halted: state.repo.why_halted().map(str::to_owned),
        };
        Ok(render(StatusCode::OK, &page))
    };
    visit.answer(outcome.await)
}
