//! Small forms.

use axum::extract::{FromRequest, Request};
use axum::response::Response;
use url::form_urlencoded;

use crate::edge::body::{self, BodyError};
use crate::edge::dialect::page::{PageError, plain};

/// Longest form that is read, in bytes.
const MAX_LEN: usize = 16 * 1024;

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

    /// As [`Form::get`], owned.
    #[must_use]
    pub fn take(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        match body::read(&parts.headers, body, MAX_LEN).await {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(BodyError::TooLarge) => Err(plain(&PageError::Refused("The form is too long."))),
            Err(BodyError::Interrupted(error)) => Err(plain(&PageError::Failed(error))),
        }
    }
}
