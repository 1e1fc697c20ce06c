//! `io.atcr.hold.exportUserData`.

use atcr_server::client_address::ClientAddress;
use atcr_server::stream_limits::ClientStreams;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::edge::auth::SignedInDirectly;
use crate::edge::error::EdgeError;
use crate::user_data::UserData;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Everything that the hold's records say of the caller, streamed. It takes a place among the exports of the repository.
pub async fn export_user_data(
    State(data): State<UserData>,
    State(exports): State<ClientStreams>,
    client: Option<Extension<ClientAddress>>,
    SignedInDirectly(did): SignedInDirectly,
) -> Result<Response, EdgeError> {
    let client = client.map(|Extension(client)| client);
    let slot = exports
        .admit(client.as_ref())
        .map_err(EdgeError::TooManyExports)?;
    let document = Body::from_stream(slot.bound(data.export(&did).await?));
    Ok(([(CONTENT_TYPE, JSON), (CACHE_CONTROL, NO_STORE)], document).into_response())
}
