//! Decentralised identifiers, and their spelling inside an image name.

use std::str::FromStr;

use url::{Host, Url};

use super::SyntaxError;
use super::string_type::string_type;

/// A decentralised identifier: `did:<method>:<id>`, for example `did:plc:7iza6de2dwap2sbkpav7c6c6` or
/// `did:web:hold.example.com`.
///
/// Any method is accepted here; what can be resolved is decided by the identity resolver. At most 2048 bytes.
///
/// # Spec
/// atproto specs "DID", AT Protocol DID identifier syntax.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did(String);

string_type!(Did);

const KIND: &str = "DID";
const MAX_LEN: usize = 2048;
/// Length of the identifier part of a did:plc, which is base32.
const PLC_ID_LEN: usize = 24;
/// Stands for the `:` before a port in an image name. Legal there, and never part of a host name.
const IMAGE_PORT_SEPARATOR: &str = "__";

impl FromStr for Did {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| Err(SyntaxError::new(KIND, reason));
        if text.len() > MAX_LEN {
            return fail("longer than 2048 bytes");
        }
        let Some((method, id)) = text.strip_prefix("did:").and_then(|rest| rest.split_once(':')) else {
            return fail("not of the form did:<method>:<id>");
        };
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return fail("the method is not lower-case letters");
        }
        if !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:%-".contains(&byte))
        {
            return fail("the identifier has a character that is not allowed");
        }
        if id.is_empty() || id.ends_with([':', '%']) {
            return fail("the identifier is empty or ends in ':' or '%'");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Did {
    /// The method: `plc`, `web`, ….
    #[must_use]
    pub fn method(&self) -> &str {
        self.split().0
    }

    /// What follows `did:<method>:`.
    #[must_use]
    pub fn identifier(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.0
            .get(4..)
            .and_then(|rest| rest.split_once(':'))
            .unwrap_or_default()
    }

    /// The did:web of the service at `url`: its host, and its port when that is not the scheme's own, percent-encoded
    /// (`http://localhost:8080` → `did:web:localhost%3A8080`). A trailing slash is ignored.
    ///
    /// # Errors
    /// [`SyntaxError`] for a URL with a path, without a host, with an IPv6 address or of another scheme than http(s):
    /// atproto has no did:web for these.
    pub fn web_from_url(url: &Url) -> Result<Self, SyntaxError> {
        let fail = |reason| Err(SyntaxError::new(KIND, reason));
        if !matches!(url.scheme(), "http" | "https") {
            return fail("a did:web needs an http or https URL");
        }
        if !matches!(url.path(), "" | "/") {
            return fail("a did:web names a host, not a path");
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(_)) | None => return fail("a did:web needs a host name"),
        };
        match url.port() {
            Some(port) => format!("did:web:{host}%3A{port}").parse(),
            None => format!("did:web:{host}").parse(),
        }
    }

    /// The DID in the one spelling that is compared and stored: of a did:web, the port after `%3A`. Older configurations and tokens
    /// write `did:web:host:8080` or `%3a`.
    ///
    /// # Spec
    /// atproto specs "DID", did:web: a port is percent-encoded.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let (method, id) = self.split();
        if method != "web" {
            return self.clone();
        }
        match id.split_once(':') {
            Some((host, port)) if is_port(port) => Self(format!("did:web:{host}%3A{port}")),
            _ => Self(self.0.replace("%3a", "%3A")),
        }
    }

    /// The host of a did:web, with its port if it has one: `localhost:8080`. `None` for other methods and for a
    /// did:web with a path, which atproto does not use.
    #[must_use]
    pub fn web_host(&self) -> Option<String> {
        let (method, id) = self.split();
        if method != "web" || id.contains(':') {
            return None;
        }
        let host = id.replacen("%3A", ":", 1).replacen("%3a", ":", 1);
        (!host.contains('%')).then_some(host)
    }

    /// The DID as one segment of an image name, where `:` and `%` are not legal: `did-plc-<id>`, `did-web-<host>`, and
    /// `did-web-<host>__<port>`.
    ///
    /// `None` if the DID cannot be written that way: another method, or upper-case letters in it.
    #[must_use]
    pub fn to_image_segment(&self) -> Option<String> {
        let segment = match self.method() {
            "plc" => format!("did-plc-{}", self.identifier()),
            "web" => format!(
                "did-web-{}",
                self.web_host()?.replacen(':', IMAGE_PORT_SEPARATOR, 1)
            ),
            _ => return None,
        };
        (Self::from_image_segment(&segment).as_ref() == Ok(self)).then_some(segment)
    }

    /// Reads the form that [`to_image_segment`](Self::to_image_segment) writes.
    ///
    /// # Errors
    /// [`SyntaxError`] for everything else, among it a plain DID and a handle that merely begins like one
    /// (`did-plc-fan.example.com`).
    pub fn from_image_segment(segment: &str) -> Result<Self, SyntaxError> {
        let fail = |reason| Err(SyntaxError::new("hyphenated DID", reason));
        if let Some(id) = segment.strip_prefix("did-plc-") {
            if id.len() != PLC_ID_LEN || !id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')) {
                return fail("not 24 characters of base32 after did-plc-");
            }
            return format!("did:plc:{id}").parse();
        }
        if let Some(host) = segment.strip_prefix("did-web-") {
            let (host, port) = match host.split_once(IMAGE_PORT_SEPARATOR) {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            };
            if !is_web_host(host) {
                return fail("not a host name after did-web-");
            }
            return match port {
                None => format!("did:web:{host}").parse(),
                Some(port) if is_port(port) => format!("did:web:{host}%3A{port}").parse(),
                Some(_) => fail("not a port number"),
            };
        }
        fail("does not begin with did-plc- or did-web-")
    }
}

fn is_web_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

fn is_port(port: &str) -> bool {
    !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}
