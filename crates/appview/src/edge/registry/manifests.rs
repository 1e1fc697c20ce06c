//! `/v2/<name>/manifests/<reference>`.

use atcr_oci::{MAX_MANIFEST_BYTES, MediaType, Reference, RegistryRequest, Tag, response_headers};
use atcr_registry::access::{Delete, Granted, Pull, Push};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::MANIFEST_LIMIT;
use atcr_registry::{ManifestUpload, ServedManifest};
use atcr_server::body::{self, BodyError};
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::RegistryCall;
use crate::edge::response::{empty, warning_header, with_headers};
use crate::state::AppState;

/// Answers a manifest request.
pub(super) async fn handle(state: &AppState, call: RegistryCall) -> Result<Response, RegistryError> {
    match call.request.clone() {
        RegistryRequest::ManifestGet { reference, .. } => get(state, call.grant()?, &reference, true).await,
        RegistryRequest::ManifestHead { reference, .. } => get(state, call.grant()?, &reference, false).await,
        RegistryRequest::ManifestPut { reference, tags, .. } => put(state, call, reference, tags).await,
        RegistryRequest::ManifestDelete { reference, .. } => {
            state
                .manifests
                .delete(&call.grant::<Delete>()?, &reference)
                .await?;
            Ok(empty(StatusCode::ACCEPTED, Vec::new()))
        }
        _ => Err(RegistryError::Internal {
            what: "not a manifest request".to_owned(),
        }),
    }
}

async fn get(
    state: &AppState,
    grant: Granted<Pull>,
    reference: &Reference,
    with_body: bool,
) -> Result<Response, RegistryError> {
    let ServedManifest {
        digest,
        media_type,
        bytes,
    } = state.manifests.pull(&grant, reference, with_body).await?;
    // Records of other writers may hold anything; what is no media type cannot be sent as one.
    let media_type: MediaType = media_type.parse().unwrap_or(MediaType::OCTET_STREAM);
    let headers = response_headers::manifest(&media_type, &digest, bytes.len() as u64);
    let body = if with_body {
        Body::from(bytes)
    } else {
        Body::empty()
    };
    Ok(with_headers(StatusCode::OK, headers, body))
}

async fn put(
    state: &AppState,
    call: RegistryCall,
    reference: Reference,
    tags: Vec<Tag>,
) -> Result<Response, RegistryError> {
    let grant = call.grant::<Push>()?;
    let content_type = match call.headers.get(CONTENT_TYPE) {
        None => None,
        Some(value) => Some(
            value
                .to_str()
                .map(str::to_owned)
                .map_err(|_| RegistryError::HeaderInvalid {
                    header: "Content-Type",
                    reason: "it is not text".to_owned(),
                })?,
        ),
    };
    let bytes = body::read(&call.headers, call.body, MAX_MANIFEST_BYTES)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge => RegistryError::ManifestTooLarge {
                limit: MANIFEST_LIMIT,
            },
            BodyError::Interrupted(source) => RegistryError::BodyInterrupted { source },
        })?;
    let upload = ManifestUpload {
        reference,
        tags: tags.clone(),
        content_type,
        bytes,
    };
    let pushed = state.manifests.push(&grant, upload).await?;
    let headers = response_headers::manifest_created(
        &grant.context().name,
        &pushed.digest,
        pushed.subject.as_ref(),
        &tags,
    );
    let mut response = empty(StatusCode::CREATED, headers);
    if let Some(warning) = &pushed.warning {
        warning_header(response.headers_mut(), warning);
    }
    Ok(response)
}
