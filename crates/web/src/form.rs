//! Small forms.

use atcr_server::body::{self, BodyError};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use url::form_urlencoded;

/// Longest form that is read, in bytes.
const MAX_LEN: usize = 16 * 1024;

/// Longest form of an owner that is read, in bytes: a text of the 100,000 bytes that a page may have, or some hundred tags.
const MAX_LONG_LEN: usize = 512 * 1024;

/// Fields of a form that is read: each takes memory of its own, however short it is. The longest form of ours names 1,200 things.
const MAX_FIELDS: usize = 2_000;

/// The fields of a form, as sent.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The fields of a query.
    #[must_use]
    pub fn of_query(query: Option<&str>) -> Self {
        Self::parse(query.unwrap_or_default().as_bytes())
    }

    fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first field of this name, unless it is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every field of this name that is not empty.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter().filter(move |(found, _)| found == name);
        fields
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// As [`Form::get`], owned.
    #[must_use]
    pub fn take(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

/// Why a form was not read: before it is known who asks, so that no page can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It is longer than any form of ours.
    #[error("The form is too long.")]
    TooLong,
    /// It ended early, or took too long.
    #[error("The form broke off.")]
    BrokeOff,
}

impl IntoResponse for FormError {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("That did not work. {self}\n")).into_response()
    }
}

/// A form that may be long: one with a text, or with many things chosen.
#[derive(Debug, Default)]
pub struct LongForm(pub Form);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = FormError;

    async fn from_request(request: Request, _: &S) -> Result<Self, FormError> {
        read(request, MAX_LEN).await
    }
}

impl<S: Send + Sync> FromRequest<S> for LongForm {
    type Rejection = FormError;

    async fn from_request(request: Request, _: &S) -> Result<Self, FormError> {
        read(request, MAX_LONG_LEN).await.map(Self)
    }
}

async fn read(request: Request, max: usize) -> Result<Form, FormError> {
    let (parts, body) = request.into_parts();
    match body::read(&parts.headers, body, max).await {
        Ok(bytes) if form_urlencoded::parse(&bytes).nth(MAX_FIELDS).is_some() => Err(FormError::TooLong),
        Ok(bytes) => Ok(Form::parse(&bytes)),
        Err(BodyError::TooLarge) => Err(FormError::TooLong),
        Err(BodyError::Interrupted(error)) => {
            tracing::info!(%error, "a form broke off");
            Err(FormError::BrokeOff)
        }
    }
}
