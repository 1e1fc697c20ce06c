//! The `Authorization` header, taken apart.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::SecretString;

use super::error::EdgeError;

/// What a request brought to prove who sends it.
#[derive(Debug)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A token.
    Bearer(String),
    /// A user name and a password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: SecretString,
    },
}

impl Credentials {
    /// Reads the header.
    ///
    /// # Errors
    /// [`EdgeError::InvalidToken`] for a header that is neither Bearer nor Basic, or not of their form.
    ///
    /// # Spec
    /// RFC 6750 §2.1, RFC 7617 §2.
    pub fn read(headers: &HeaderMap) -> Result<Self, EdgeError> {
        let malformed =
            || EdgeError::invalid_token("the Authorization header is not of the form Bearer or Basic");
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Ok(Self::None);
        };
        if values.next().is_some() {
            return Err(malformed());
        }
        let text = value.to_str().map_err(|_| malformed())?;
        let (scheme, rest) = text.split_once(' ').ok_or_else(malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Self::Bearer(rest.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(malformed());
        }
        let decoded = STANDARD.decode(rest).map_err(|_| malformed())?;
        let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
        // A DID as user name has colons itself; no password of ours begins with `plc:` or `web:`.
        let split = match decoded.strip_prefix("did:") {
            None => decoded.split_once(':'),
            Some(rest) => rest
                .match_indices(':')
                .nth(1)
                .map(|(index, _)| index + "did:".len())
                .map(|index| (&decoded[..index], &decoded[index + 1..])),
        };
        let (username, password) = split.ok_or_else(malformed)?;
        // Clients without credentials send empty ones.
        if username.is_empty() && password.is_empty() {
            return Ok(Self::None);
        }
        Ok(Self::Basic {
            username: username.to_owned(),
            password: SecretString::from(password),
        })
    }
}

#[cfg(test)]
mod tests;
