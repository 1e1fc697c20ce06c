//! What Docker calls a server URL, taken apart strictly and compared exactly.
//!
//! Docker hands over `atcr.io`, `localhost:5000`, sometimes `https://atcr.io/v2/`. A name that only looks like a stored
//! one must never match: nothing is decoded, no white space or user part is tolerated, and hosts are compared whole.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest server URL in bytes: a host name has at most 253.
const MAX_LEN: usize = 1024;

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Scheme {
    /// Only for this machine.
    Http,
    Https,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The origin of a registry: `https://atcr.io`, `http://localhost:5000`. Lower case; a default port is not written.
///
/// Plain HTTP exists for `localhost`, `127.0.0.1` and `[::1]` only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryUrl {
    scheme: Scheme,
    host: String,
    port: Option<u16>,
}

/// A server URL that is not valid or not allowed. The text itself is not repeated: it may have control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidServerUrl {
    /// Nothing was given. The sentence is that of docker-credential-helpers.
    #[error("no credentials server URL")]
    Empty,
    /// CR, LF, NUL or another control character.
    #[error("the server URL contains a control character")]
    ControlCharacter,
    /// Longer than any registry's name.
    #[error("the server URL is too long")]
    TooLong,
    /// White space, `@`, `%`, `\`, `?`, `#` or non-ASCII text: how one host is made to look like another.
    #[error("the server URL contains a character that no registry's name has")]
    Character,
    /// Neither `http` nor `https`.
    #[error("the server URL is neither http nor https")]
    Scheme,
    /// Plain HTTP to another machine would show the secret to the network.
    #[error("plain http is only for localhost, 127.0.0.1 and [::1]")]
    PlainHttp,
    /// Not a host name.
    #[error("the server URL has no valid host")]
    Host,
    /// Not a port.
    #[error("the server URL has no valid port")]
    Port,
}

impl RegistryUrl {
    /// Host and port as an image name writes them: `atcr.io`, `localhost:5000`.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The host without a port; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the registry runs on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The address of `path`, which starts with a slash.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    /// Whether both are the same place, the three names of this machine counting as one.
    #[must_use]
    pub fn is_same_site(&self, other: &Self) -> bool {
        self == other || (self.is_loopback() && other.is_loopback() && self.port == other.port)
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.name(), self.authority())
    }
}

impl FromStr for RegistryUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidServerUrl> {
        ServerAddress::parse(text).map(|address| address.url)
    }
}

/// A server URL as a client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    url: RegistryUrl,
    /// The same with TLS, where the scheme was not said and plain HTTP is the first guess.
    with_tls: Option<RegistryUrl>,
    namespace: Option<String>,
}

impl ServerAddress {
    /// Takes `text` apart. A bare host is `https`, or `http` when it is this machine.
    ///
    /// # Errors
    /// [`InvalidServerUrl`]; nothing is repaired.
    ///
    /// # Security
    /// `atcr.io@evil.example`, `atcr.io%2f.evil`, `https://atcr.io\@evil`, `аtcr.io` in Cyrillic and names with line
    /// breaks are refused here; `atcr.io.evil.example` and `xatcr.io` parse, and equal nothing but themselves.
    pub fn parse(text: &str) -> Result<Self, InvalidServerUrl> {
        if text.is_empty() {
            return Err(InvalidServerUrl::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(InvalidServerUrl::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidServerUrl::ControlCharacter);
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte);
        if !text.bytes().all(is_allowed) {
            return Err(InvalidServerUrl::Character);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(Scheme::Https), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(Scheme::Http), rest),
            Some(_) => return Err(InvalidServerUrl::Scheme),
            None => (None, text),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_authority(authority)?;
        let host = host.to_ascii_lowercase();
        if scheme == Some(Scheme::Http) && !is_loopback(&host) {
            return Err(InvalidServerUrl::PlainHttp);
        }
        let url = |scheme: Scheme| RegistryUrl {
            scheme,
            host: host.clone(),
            port: port.filter(|port| *port != scheme.default_port()),
        };
        let (url, with_tls) = match scheme {
            Some(scheme) => (url(scheme), None),
            None if is_loopback(&host) => (url(Scheme::Http), Some(url(Scheme::Https))),
            None => (url(Scheme::Https), None),
        };
        Ok(Self {
            url,
            with_tls,
            namespace: namespace(path),
        })
    }

    /// The registry meant when nothing else is known.
    #[must_use]
    pub const fn url(&self) -> &RegistryUrl {
        &self.url
    }

    /// Whose images are asked for, when the client names more than the host (Podman's `atcr.io/alice.example`).
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The stored registries that this address may mean, best first: a bare name of this machine may also be one that speaks TLS.
    #[must_use]
    pub fn candidates(&self) -> Vec<RegistryUrl> {
        std::iter::once(&self.url)
            .chain(&self.with_tls)
            .cloned()
            .collect()
    }
}

impl From<&RegistryUrl> for ServerAddress {
    fn from(url: &RegistryUrl) -> Self {
        Self {
            url: url.clone(),
            with_tls: None,
            namespace: None,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// The first segment of a path, unless it is the version of the registry API.
fn namespace(path: &str) -> Option<String> {
    let first = path.split('/').next()?;
    (!matches!(first, "" | "v1" | "v2")).then(|| first.to_owned())
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), InvalidServerUrl> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(InvalidServerUrl::Host)?;
        let (host, rest) = authority.split_at(end + 1);
        let inside = &host[1..end];
        if inside.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(InvalidServerUrl::Host);
        }
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(InvalidServerUrl::Host),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        if !is_host_name(host) {
            return Err(InvalidServerUrl::Host);
        }
        (host, port)
    };
    let port = port.map(parse_port).transpose()?;
    Ok((host, port))
}

fn is_host_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

fn parse_port(text: &str) -> Result<u16, InvalidServerUrl> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidServerUrl::Port);
    }
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or(InvalidServerUrl::Port)
}
