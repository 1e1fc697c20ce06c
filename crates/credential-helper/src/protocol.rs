//! The protocol of Docker's credential helpers: what comes in on standard input, what goes out on standard output.
//!
//! A failed request prints its message on standard output and exits with 1, as docker-credential-helpers do. Callers
//! compare [`NOT_FOUND`] letter by letter to tell "no account is signed in" from a failure of the helper.

use std::io::{self, Read};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::registry_url::{InvalidServerUrl, ServerAddress};

/// The answer of `get` when there is no account.
pub const NOT_FOUND: &str = "credentials not found in native keychain";

/// Longest request in bytes.
const MAX_REQUEST: u64 = 64 * 1024;

/// A request that is not valid.
#[derive(Debug, Error)]
pub enum InvalidRequest {
    /// Standard input broke off.
    #[error("cannot read standard input")]
    Read(#[source] io::Error),
    /// More than any request needs.
    #[error("the request is too long")]
    TooLong,
    /// Not UTF-8.
    #[error("the request is not text")]
    NotText,
    /// Not the JSON that `store` takes.
    #[error("the request is not valid: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Not a server URL.
    #[error(transparent)]
    ServerUrl(#[from] InvalidServerUrl),
    /// No user name. The sentence is that of docker-credential-helpers.
    #[error("no credentials username")]
    NoUsername,
    /// A control character in the user name, or far too long a one.
    #[error("the user name is not valid")]
    Username,
    /// No secret, or one with a control character.
    #[error("the secret is not valid")]
    Secret,
}

/// What `store` is given.
#[derive(Debug)]
pub struct Credentials {
    /// The registry.
    pub server: ServerAddress,
    /// Whatever was given to `docker login`.
    pub username: String,
    /// A password, or a device secret that was handed out before.
    pub secret: SecretString,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsRow {
    #[serde(default, rename = "ServerURL")]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What `get` answers.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AnswerRow<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

/// A server URL as `get` and `erase` are given it: the text as it came, and its meaning.
#[derive(Debug)]
pub struct ServerRequest {
    /// Repeated in the answer.
    pub text: String,
    /// Its meaning.
    pub address: ServerAddress,
}

/// Reads the request of `get` and `erase`: a server URL and at most one line break.
///
/// # Errors
/// [`InvalidRequest`]
///
/// # Security
/// A line break inside is refused, not trimmed: it would let a registry's name smuggle a second request.
pub fn read_server(input: impl Read) -> Result<ServerRequest, InvalidRequest> {
    let request = read_text(input)?;
    let text = request
        .strip_suffix("\r\n")
        .or_else(|| request.strip_suffix('\n'))
        .unwrap_or(&request);
    Ok(ServerRequest {
        address: ServerAddress::parse(text)?,
        text: text.to_owned(),
    })
}

/// Reads the request of `store`.
///
/// # Errors
/// [`InvalidRequest`]; the secret is not repeated.
pub fn read_credentials(input: impl Read) -> Result<Credentials, InvalidRequest> {
    let row: CredentialsRow = serde_json::from_str(&read_text(input)?)?;
    let server = ServerAddress::parse(&row.server_url)?;
    if row.username.is_empty() {
        return Err(InvalidRequest::NoUsername);
    }
    if !is_username(&row.username) {
        return Err(InvalidRequest::Username);
    }
    if !is_secret(&row.secret) {
        return Err(InvalidRequest::Secret);
    }
    Ok(Credentials {
        server,
        username: row.username,
        secret: SecretString::from(row.secret),
    })
}

/// The answer of `get`, with its line break.
///
/// # Errors
/// None that occurs: every value is text.
pub fn answer(server_url: &str, username: &str, secret: &SecretString) -> Result<String, serde_json::Error> {
    let row = AnswerRow {
        server_url,
        username,
        secret: secret.expose_secret(),
    };
    serde_json::to_string(&row).map(|text| text + "\n")
}

/// Whether `text` can be a user name: no control characters, no colon but in a DID, which would end the name in an
/// `Authorization: Basic` header.
#[must_use]
pub fn is_username(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 512
        && !text.chars().any(char::is_control)
        && (!text.contains(':') || text.starts_with("did:"))
}

/// Whether `text` can be a secret.
#[must_use]
pub fn is_secret(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn read_text(input: impl Read) -> Result<String, InvalidRequest> {
    let mut bytes = Vec::new();
    input
        .take(MAX_REQUEST + 1)
        .read_to_end(&mut bytes)
        .map_err(InvalidRequest::Read)?;
    if bytes.len() as u64 > MAX_REQUEST {
        return Err(InvalidRequest::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| InvalidRequest::NotText)
}
