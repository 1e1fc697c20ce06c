//! The shapes of a registry's answers.

use serde::Deserialize;
use ureq::http::StatusCode;

use crate::printer::plain;

/// A device flow that has begun. Times are in seconds.
#[derive(Deserialize)]
pub(super) struct DeviceCodeRow {
    pub(super) device_code: String,
    pub(super) user_code: String,
    pub(super) verification_uri: String,
    #[serde(default)]
    pub(super) verification_uri_complete: Option<String>,
    #[serde(default = "default_expiry")]
    pub(super) expires_in: u64,
    #[serde(default = "default_interval")]
    pub(super) interval: u64,
}

const fn default_expiry() -> u64 {
    600
}

/// RFC 8628 §3.2: five seconds where nothing is said.
const fn default_interval() -> u64 {
    5
}

/// The answer to a poll: a word of the flow, or the device.
#[derive(Default, Deserialize)]
pub(super) struct DeviceTokenRow {
    #[serde(default)]
    pub(super) error: Option<String>,
    #[serde(default, alias = "secret")]
    pub(super) device_secret: Option<String>,
    #[serde(default)]
    pub(super) handle: Option<String>,
    #[serde(default)]
    pub(super) did: Option<String>,
}

/// Both error dialects a registry speaks: OCI's `errors`, and `error` with a message.
#[derive(Deserialize)]
struct ErrorRow {
    #[serde(default)]
    errors: Vec<ErrorMessage>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default, alias = "error_description")]
    message: Option<String>,
}

#[derive(Deserialize)]
struct ErrorMessage {
    #[serde(default)]
    message: String,
}

/// Whether a status by itself says that the user has not decided.
pub(super) fn is_pending(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::PRECONDITION_REQUIRED
    )
}

/// The sentence of an error's body, in whichever dialect.
pub(super) fn message(body: &[u8]) -> String {
    let row: Option<ErrorRow> = serde_json::from_slice(body).ok();
    row.and_then(|row| {
        let first = row.errors.into_iter().map(|error| error.message);
        first
            .chain(row.message)
            .chain(row.error)
            .find(|message| !message.is_empty())
    })
    .map_or_else(|| "no reason given".to_owned(), |message| plain(&message))
}
