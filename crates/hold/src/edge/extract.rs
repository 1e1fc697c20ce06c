//! XRPC input: query parameters and JSON bodies, refused in XRPC's own words.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::EdgeError;

/// The parameters of a query.
#[derive(Debug)]
pub struct XrpcQuery<T>(pub T);

impl<T, S> FromRequestParts<S> for XrpcQuery<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = EdgeError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(EdgeError::InvalidRequest {
                message: rejection.body_text(),
            }),
        }
    }
}

/// The JSON input of a procedure; no body at all counts as `{}`.
///
/// The `Content-Type` is ignored: no request is authorised by a cookie that a foreign page could use.
#[derive(Debug)]
pub struct XrpcJson<T>(pub T);

impl<T, S> FromRequest<S> for XrpcJson<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = EdgeError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let bytes = Bytes::from_request(request, state).await.map_err(unreadable)?;
        let json: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|error| EdgeError::InvalidRequest {
                message: format!("the body is not valid input: {error}"),
            })
    }
}

fn unreadable(rejection: BytesRejection) -> EdgeError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        EdgeError::PayloadTooLarge
    } else {
        EdgeError::InvalidRequest {
            message: "the body could not be read".to_owned(),
        }
    }
}
