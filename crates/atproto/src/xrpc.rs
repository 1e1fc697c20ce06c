//! The error envelope of XRPC, for asking and for answering.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::bounds::{MAX_ERROR_MESSAGE_CHARS, MAX_ERROR_NAME_CHARS};

/// An error answer of an XRPC server: `{"error": "<Name>", "message": "<text>"}` under an error status.
///
/// # Spec
/// atproto specs "HTTP API (XRPC)", error responses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {error}{}", message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct XrpcError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The name of the error, to be compared: `RecordNotFound`. `Unknown` if the server sent no envelope.
    pub error: String,
    /// The server's words. Untrusted, at most 512 characters are kept; not to be compared.
    pub message: Option<String>,
}

/// The JSON body of an [`XrpcError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XrpcErrorBody {
    /// The name of the error.
    pub error: String,
    /// Words for a human being.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl XrpcError {
    /// An error answer.
    #[must_use]
    pub fn new(status: StatusCode, error: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            message: Some(message.into()),
        }
    }

    /// Reads an error answer; a body that is not an envelope gives the name `Unknown`.
    #[must_use]
    pub fn from_response(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<XrpcErrorBody>(body) {
            Ok(body) => Self {
                status,
                error: cut(&body.error, MAX_ERROR_NAME_CHARS),
                message: body.message.map(|text| cut(&text, MAX_ERROR_MESSAGE_CHARS)),
            },
            Err(_) => Self {
                status,
                error: "Unknown".to_owned(),
                message: None,
            },
        }
    }

    /// The body to send.
    #[must_use]
    pub fn body(&self) -> XrpcErrorBody {
        XrpcErrorBody {
            error: self.error.clone(),
            message: self.message.clone(),
        }
    }

    /// True if the error has this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.error == name
    }
}

/// At most `limit` characters, control characters removed: the text ends up in logs and answers.
fn cut(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(limit).collect()
}
