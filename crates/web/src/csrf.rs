//! Checks that a request that changes something was made on one of this server's pages.
//!
//! Three checks stop other sites: cookies are `SameSite=Lax`, browsers name the origin of a request, and a token is in
//! this server's forms and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::ORIGIN;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use super::site::Site;

/// The form's field.
pub const FIELD: &str = "csrf_token";

/// The header, for requests without a form.
pub const HEADER: &str = "x-csrf-token";

/// What browsers say about where a request comes from.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// A session's token. It follows from the session's cookie, which scripts cannot read and others do not know, and does not lead back
/// to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// The token of the session with `cookie`.
    #[must_use]
    pub fn of(cookie: &SecretString) -> Self {
        let mut hash = Sha256::new();
        hash.update("atcr csrf token\0");
        hash.update(cookie.expose_secret());
        Self(URL_SAFE_NO_PAD.encode(hash.finalize()))
    }

    /// For a form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `sent` is it; compared as hashes, whose bytes a client cannot choose, so that timing tells nothing.
    #[must_use]
    pub fn is(&self, sent: &str) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(sent)
    }
}

/// Whether the request comes from one of our own pages, by what its browser says. One that says nothing is taken for another site's.
#[must_use]
pub fn is_own_page(site: &Site, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = headers
        .get(ORIGIN)
        .map(|value| value.to_str().unwrap_or_default());
    match (text(SEC_FETCH_SITE), origin) {
        (Some("same-origin"), None) => true,
        (None | Some("same-origin"), Some(origin)) => site.is_origin(origin),
        _ => false,
    }
}
