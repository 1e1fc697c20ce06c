//! Uploads: everything under `/v2/<name>/blobs/uploads/`.

use std::io;

use atcr_oci::header::{DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID};
use atcr_oci::{ContentRange, RepositoryName, UploadRequest, blob_path, upload_path};
use atcr_registry::access::{Permissions, Push};
use atcr_registry::error::{RegistryError, UploadError};
use atcr_registry::upload::{StoredBlob, UploadBody, UploadProgress, Uploads};
use axum::body::Body;
use axum::response::Response;
use futures_util::TryStreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, StatusCode};

use super::RegistryCall;
use crate::edge::dialect::oci;
use crate::edge::error::EdgeError;

/// Answers a request about an upload. A chunk out of order is answered here: the answer says where the session stands.
///
/// # Errors
/// Those of [`Uploads`], without `ChunkOutOfOrder`; `HeaderInvalid` for a `Content-Range` or `Content-Length` that cannot be read.
pub async fn answer(
    uploads: &Uploads,
    permissions: &Permissions,
    request: UploadRequest,
    call: RegistryCall,
) -> Result<Response, EdgeError> {
    let name = call.context.name.clone();
    match carry_out(uploads, permissions, request, call).await {
        Err(EdgeError::Registry(error @ RegistryError::Upload(UploadError::ChunkOutOfOrder { .. }))) => {
            out_of_order(&name, error)
        }
        answered => answered,
    }
}

async fn carry_out(
    uploads: &Uploads,
    permissions: &Permissions,
    request: UploadRequest,
    call: RegistryCall,
) -> Result<Response, EdgeError> {
    let grant = call.grant::<Push>(permissions).await?;
    let name = &call.context.name;
    match request {
        UploadRequest::Start {
            digest: Some(digest), ..
        } => {
            let body = upload_body(&call.headers, call.body)?;
            stored(name, &uploads.put_whole(&grant, &digest, body).await?)
        }
        UploadRequest::Start {
            mount,
            digest_algorithm,
            ..
        } => {
            if let Some(mount) = mount
                && let Some(blob) = uploads.mount(&grant, &call.caller, permissions, &mount).await?
            {
                return stored(name, &blob);
            }
            progress(
                StatusCode::ACCEPTED,
                name,
                &uploads.start(&grant, digest_algorithm).await?,
            )
        }
        UploadRequest::Patch { session } => {
            let body = upload_body(&call.headers, call.body)?;
            progress(
                StatusCode::ACCEPTED,
                name,
                &uploads.append(&grant, &session, body).await?,
            )
        }
        UploadRequest::Status { session } => progress(
            StatusCode::NO_CONTENT,
            name,
            &uploads.status(&grant, &session).await?,
        ),
        UploadRequest::Complete { session, digest } => {
            let body = upload_body(&call.headers, call.body)?;
            stored(name, &uploads.complete(&grant, &session, &digest, body).await?)
        }
        UploadRequest::Cancel { session } => {
            uploads.cancel(&grant, &session).await?;
            finish(Response::builder().status(StatusCode::NO_CONTENT))
        }
    }
}

fn upload_body(headers: &HeaderMap, body: Body) -> Result<UploadBody, EdgeError> {
    let range = match text(headers, &CONTENT_RANGE, "Content-Range")? {
        None => None,
        Some(text) => {
            let range: ContentRange = text
                .parse()
                .map_err(|_| invalid("Content-Range", "expected <first>-<last>"))?;
            Some((range.start(), range.end()))
        }
    };
    let len = match text(headers, &CONTENT_LENGTH, "Content-Length")? {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| invalid("Content-Length", "expected a number of bytes"))?,
        ),
    };
    let bytes = Box::pin(body.into_data_stream().map_err(io::Error::other));
    Ok(UploadBody { len, range, bytes })
}

/// The value of header `name`; `shown` is how an error spells it.
fn text<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, EdgeError> {
    let value = headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| invalid(shown, "it is not ASCII"))
}

fn invalid(header: &'static str, reason: &str) -> EdgeError {
    EdgeError::header(header, reason)
}

/// Where a session stands. `Range` is inclusive and cannot say "nothing": `0-0` stands for that, as clients expect it.
fn progress(
    status: StatusCode,
    name: &RepositoryName,
    progress: &UploadProgress,
) -> Result<Response, EdgeError> {
    finish(
        Response::builder()
            .status(status)
            .header(LOCATION, upload_path(name, &progress.session))
            .header(RANGE, format!("0-{}", progress.offset.saturating_sub(1)))
            .header(DOCKER_UPLOAD_UUID, progress.session.as_str()),
    )
}

/// 416 with the two headers that let the client go on from where the session stands.
fn out_of_order(name: &RepositoryName, error: RegistryError) -> Result<Response, EdgeError> {
    let stands = match &error {
        RegistryError::Upload(UploadError::ChunkOutOfOrder {
            session, received, ..
        }) => Some(UploadProgress {
            session: session.clone(),
            offset: *received,
        }),
        _ => None,
    };
    let mut response = oci::response(&error.into(), None);
    if let Some(stands) = stands {
        let progress = progress(response.status(), name, &stands)?;
        response.headers_mut().extend(progress.into_parts().0.headers);
    }
    Ok(response)
}

fn stored(name: &RepositoryName, blob: &StoredBlob) -> Result<Response, EdgeError> {
    finish(
        Response::builder()
            .status(StatusCode::CREATED)
            .header(LOCATION, blob_path(name, &blob.digest))
            .header(DOCKER_CONTENT_DIGEST, blob.digest.to_string()),
    )
}

fn finish(response: http::response::Builder) -> Result<Response, EdgeError> {
    response
        .body(Body::empty())
        .map_err(|error| RegistryError::internal(error.to_string()).into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_header_that_is_wrong_is_the_one_that_is_named() {
        let not_ascii = HeaderValue::from_bytes(b"12\xff").unwrap();
        for (header, name) in [
            (CONTENT_LENGTH, "Content-Length"),
            (CONTENT_RANGE, "Content-Range"),
        ] {
            for value in [not_ascii.clone(), HeaderValue::from_static("x")] {
                let headers = HeaderMap::from_iter([(header.clone(), value)]);
                let refused = upload_body(&headers, Body::empty()).err();
                let Some(EdgeError::HeaderInvalid { header, .. }) = refused else {
                    panic!("{name} is taken");
                };
                assert_eq!(header, name);
            }
        }
    }
}
