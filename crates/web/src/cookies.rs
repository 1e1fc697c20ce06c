//! The cookies that the servers set.
//!
//! Over TLS their names begin with `__Host-`: a browser then takes them only from this very host, so that no other host of the same
//! domain can plant one. On loopback without TLS the name has the port instead, since cookies are shared among ports.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::site::Site;

/// Longest value that is read, in bytes.
const MAX_LEN: usize = 200;

/// One of the cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// What a browser that is signed in keeps: `atcr_session`.
    Session,
    /// What a browser keeps from a sign-in's start to its end: `atcr_sign_in`.
    SignIn,
    /// How pages look in it: `atcr_appearance`.
    Appearance,
}

impl Cookie {
    /// Its name at `site`.
    #[must_use]
    pub fn name(self, site: &Site) -> String {
        let name = match self {
            Self::Session => "atcr_session",
            Self::SignIn => "atcr_sign_in",
            Self::Appearance => "atcr_appearance",
        };
        match site.origin.port() {
            _ if site.is_secure() => format!("__Host-{name}"),
            Some(port) => format!("{name}_{port}"),
            None => name.to_owned(),
        }
    }

    /// Its value in a request; `None` if the name occurs twice, since it is then unknown which cookie is ours.
    #[must_use]
    pub fn read(self, site: &Site, headers: &HeaderMap) -> Option<SecretString> {
        let name = self.name(site);
        let mut values = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value);
        let value = values.next().filter(|value| match self {
            Self::Session | Self::SignIn => is_token(value),
            Self::Appearance => is_choice(value),
        })?;
        values
            .next()
            .is_none()
            .then(|| SecretString::from(value.to_owned()))
    }

    /// Sets it for `seconds`.
    pub fn set(self, site: &Site, headers: &mut HeaderMap, value: &SecretString, seconds: i64) {
        self.write(site, headers, value.expose_secret(), seconds);
    }

    /// Takes it away.
    pub fn clear(self, site: &Site, headers: &mut HeaderMap) {
        self.write(site, headers, "", 0);
    }

    fn write(self, site: &Site, headers: &mut HeaderMap, value: &str, seconds: i64) {
        let secure = if site.is_secure() { "; Secure" } else { "" };
        // Lax: the way back from an account's server is a navigation from another site.
        let cookie = format!(
            "{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}",
            self.name(site)
        );
        if let Ok(mut header) = HeaderValue::try_from(cookie) {
            header.set_sensitive(true);
            headers.append(SET_COOKIE, header);
        }
    }
}

/// Whether `value` is of the form that we give out, base64url.
fn is_token(value: &str) -> bool {
    (32..=MAX_LEN).contains(&value.len())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether `value` may be a choice among words.
fn is_choice(value: &str) -> bool {
    value.len() <= MAX_LEN
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'.')
}

#[cfg(test)]
mod tests;
