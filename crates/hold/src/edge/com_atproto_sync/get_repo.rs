//! `com.atproto.sync.getRepo`.

use std::sync::Arc;

use atcr_hold_pds::HoldRepo;
use atcr_hold_pds::identity::HoldIdentity;
use atcr_server::client_address::ClientAddress;
use atcr_server::stream_limits::ClientStreams;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{CAR, require_own, revision};
use crate::edge::error::EdgeError;
use crate::edge::extract::XrpcQuery;

/// Whose repository, and from which revision on.
#[derive(Debug, Deserialize)]
pub struct Input {
    did: String,
    since: Option<String>,
}

/// The repository as CAR, streamed: whole, or what is new since a revision.
pub async fn get_repo(
    State(identity): State<Arc<HoldIdentity>>,
    State(repo): State<HoldRepo>,
    State(exports): State<ClientStreams>,
    client: Option<Extension<ClientAddress>>,
    XrpcQuery(input): XrpcQuery<Input>,
) -> Result<Response, EdgeError> {
    require_own(&identity, &input.did)?;
    let since = revision(input.since.as_deref())?;
    let client = client.map(|Extension(client)| client);
    let slot = exports
        .admit(client.as_ref())
        .map_err(EdgeError::TooManyExports)?;
    let car = Body::from_stream(slot.bound(repo.export_car(since)));
    Ok(([(CONTENT_TYPE, CAR)], car).into_response())
}
