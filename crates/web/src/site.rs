//! What pages know about the server that serves them.

use url::Url;

/// The site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub base_url: Url,
    /// Where browsers have to be. As a rule that is the base URL; on loopback, account servers send browsers back to 127.0.0.1, and
    /// cookies set under another name would not be there.
    pub origin: Url,
    /// The terms of service.
    pub terms_url: Option<String>,
    /// The privacy policy.
    pub privacy_url: Option<String>,
    /// Whether account servers may be on plain HTTP, as in a network for development.
    pub is_development: bool,
    /// Where `verify` of the credential helper finds this network's accounts: flags with a space before each, none on the public network.
    pub verify_flags: String,
}

impl Site {
    /// The host as it stands in images' names, with the port unless it is the scheme's own.
    #[must_use]
    pub fn host(&self) -> String {
        authority(&self.base_url)
    }

    /// The address of `path`, which begins with a slash, for others.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url.as_str().trim_end_matches('/'))
    }

    /// Whether browsers reach it through TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.origin.scheme() == "https"
    }

    /// Whether `origin`, as browsers write it, is this site.
    #[must_use]
    pub fn is_origin(&self, origin: &str) -> bool {
        [&self.origin, &self.base_url]
            .iter()
            .any(|own| own.origin().ascii_serialization() == origin)
    }
}

/// Host, and port unless it is the scheme's own.
#[must_use]
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
