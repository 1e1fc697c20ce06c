//! `/v2/<name>/manifests/<reference>`.

use std::time::Duration;

use atcr_oci::{MAX_MANIFEST_BYTES, ManifestRequest, MediaType, Reference, Tag, response_headers};
use atcr_registry::access::{Granted, Permissions, Pull, Push};
use atcr_registry::error::{ManifestError, RegistryError};
use atcr_registry::manifest::{MANIFEST_LIMIT, Manifests};
use atcr_registry::{ManifestUpload, ServedManifest};
use atcr_server::body::{self, BodyError};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::RegistryCall;
use super::manifest_memory::{self, ManifestMemory};
use crate::edge::error::EdgeError;
use crate::edge::response::{empty, warning_header, with_headers};

/// Answers a manifest request.
pub(super) async fn answer(
    manifests: &Manifests,
    memory: &ManifestMemory,
    permissions: &Permissions,
    request: ManifestRequest,
    call: RegistryCall,
) -> Result<Response, EdgeError> {
    match request {
        ManifestRequest::Get { reference } => {
            let grant = call.grant(permissions).await?;
            let (served, bytes) = held(manifests, memory, &grant, &reference).await?;
            let len = bytes.len() as u64;
            Ok(found(&served, len, manifest_memory::body(bytes)))
        }
        ManifestRequest::Head { reference } => {
            let served = manifests
                .pull(&call.grant(permissions).await?, &reference, false)
                .await?;
            let len = served.bytes.len() as u64;
            Ok(found(&served, len, Body::empty()))
        }
        ManifestRequest::Put { reference, tags } => {
            let grant = call.grant(permissions).await?;
            put(manifests, memory, &grant, call, reference, tags).await
        }
        ManifestRequest::Delete { reference } => {
            manifests
                .delete(&call.grant(permissions).await?, &reference)
                .await?;
            Ok(empty(StatusCode::ACCEPTED, Vec::new()))
        }
    }
}

/// A manifest, and its bytes in memory that is counted until they are sent. A caller that has to wait for memory waits without them.
async fn held(
    manifests: &Manifests,
    memory: &ManifestMemory,
    grant: &Granted<Pull>,
    reference: &Reference,
) -> Result<(ServedManifest, Bytes), EdgeError> {
    let caller = &grant.context().requester;
    let served = manifests.pull(grant, reference, true).await?;
    if let Some(bytes) = memory.try_serve(caller, &served.digest, &served.bytes) {
        return Ok((served, bytes));
    }
    let len = served.bytes.len();
    drop(served);
    let mut room = memory.room(caller, len).await?;
    let served = manifests.pull(grant, reference, true).await?;
    // A tag may have moved meanwhile, to a longer one.
    if served.bytes.len() > len {
        return Err(RegistryError::TooManyRequests {
            retry_after: Duration::from_secs(1),
        }
        .into());
    }
    room.shrink_to(served.bytes.len());
    let bytes = memory.serve(room, &served.digest, served.bytes.clone());
    Ok((served, bytes))
}

fn found(served: &ServedManifest, len: u64, body: Body) -> Response {
    // Records of other writers may hold anything; what is no media type cannot be sent as one.
    let media_type: MediaType = served.media_type.parse().unwrap_or(MediaType::OCTET_STREAM);
    let headers = response_headers::manifest(&media_type, &served.digest, len);
    let mut response = with_headers(StatusCode::OK, headers, body);
    if let Some(warning) = &served.warning {
        warning_header(response.headers_mut(), warning);
    }
    response
}

async fn put(
    manifests: &Manifests,
    memory: &ManifestMemory,
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
    let caller = &grant.context().requester;
    let longest = body::announced(&call.headers).unwrap_or(MAX_MANIFEST_BYTES);
    // While it is read there are the frames and the whole.
    let mut room = memory.room(caller, 2 * longest.min(MAX_MANIFEST_BYTES)).await?;
    let bytes = body::read(&call.headers, call.body, MAX_MANIFEST_BYTES)
        .await
        .map_err(|error| match error {
            BodyError::TooLarge => RegistryError::Manifest(ManifestError::TooLarge {
                limit: MANIFEST_LIMIT,
            }),
            BodyError::Interrupted(source) => RegistryError::BodyInterrupted { source },
        })?;
    room.shrink_to(bytes.len());
    // Both are held until the manifest is written.
    let _parsed = memory.parsed_room(caller, bytes.len()).await?;
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
