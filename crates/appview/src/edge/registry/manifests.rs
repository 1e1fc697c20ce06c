//! `/v2/<name>/manifests/<reference>`.

use atcr_oci::{MAX_MANIFEST_BYTES, ManifestRequest, MediaType, Reference, Tag, response_headers};
use atcr_registry::access::{Granted, Permissions, Pull, Push};
use atcr_registry::error::RegistryError;
use atcr_registry::manifest::{MANIFEST_LIMIT, Manifests};
use atcr_registry::{ManifestUpload, ServedManifest};
use atcr_server::body::{self, BodyError};
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::RegistryCall;
use crate::edge::error::EdgeError;
use crate::edge::response::{empty, warning_header, with_headers};

/// Answers a manifest request.
pub(super) async fn answer(
    manifests: &Manifests,
    permissions: &Permissions,
    request: ManifestRequest,
    call: RegistryCall,
) -> Result<Response, EdgeError> {
    match request {
        ManifestRequest::Get { reference } => {
            get(manifests, call.grant(permissions).await?, &reference, true).await
        }
        ManifestRequest::Head { reference } => {
            get(manifests, call.grant(permissions).await?, &reference, false).await
        }
        ManifestRequest::Put { reference, tags } => {
            let grant = call.grant(permissions).await?;
            put(manifests, &grant, call, reference, tags).await
        }
        ManifestRequest::Delete { reference } => {
            manifests
                .delete(&call.grant(permissions).await?, &reference)
                .await?;
            Ok(empty(StatusCode::ACCEPTED, Vec::new()))
        }
    }
}

async fn get(
    manifests: &Manifests,
    grant: Granted<Pull>,
    reference: &Reference,
    with_body: bool,
) -> Result<Response, EdgeError> {
    let ServedManifest {
        digest,
        media_type,
        bytes,
    } = manifests.pull(&grant, reference, with_body).await?;
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
    manifests: &Manifests,
    grant: &Granted<Push>,
    call: RegistryCall,
    reference: Reference,
    tags: Vec<Tag>,
) -> Result<Response, EdgeError> {
    let content_type = match call.headers.get(CONTENT_TYPE) {
        None => None,
        Some(value) => Some(
            value
                .to_str()
                .map(str::to_owned)
                .map_err(|_| EdgeError::header("Content-Type", "it is not text"))?,
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
    let pushed = manifests.push(grant, upload).await?;
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
