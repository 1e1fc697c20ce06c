//! Where a hold sends us and our clients: URLs, methods and headers of its store, checked before they are used.
//!
//! Others name the hold, so everything that it names is untrusted as well. A checked URL obeys the rules of the
//! [`EgressClient`]: https, no credentials, only public addresses. A client is therefore never redirected to a host that this
//! server would not contact itself.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use url::Url;

use crate::bounds::{MAX_HEADER_BYTES, MAX_TARGET_HEADERS, MAX_URL_BYTES};
use crate::egress::{EgressClient, EgressError};
use crate::lexicon::hold_upload::{BlobUrlOutput, GetPartUploadUrlOutput};

/// Why a target is not used. No variant carries the URL, which is a credential.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TargetError {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Not an absolute URL.
    #[error("the URL cannot be read")]
    NotAUrl,
    /// A URL that this server does not contact.
    #[error(transparent)]
    Refused(EgressError),
    /// A method other than PUT.
    #[error("the method is not PUT")]
    Method,
    /// A header that a store may not ask for, or one that is too long.
    #[error("a header may not be sent: {name}")]
    Header {
        /// The name, or the beginning of it.
        name: String,
    },
    /// More than [`MAX_TARGET_HEADERS`].
    #[error("more than {MAX_TARGET_HEADERS} headers")]
    TooManyHeaders,
}

/// A checked URL of a store. It is a credential: `Debug` shows its host only.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Url);

impl StoreUrl {
    /// Checks a URL that a hold names.
    ///
    /// # Errors
    /// `TooLong`, `NotAUrl`, `Refused`.
    pub fn parse(text: &str, egress: &EgressClient) -> Result<Self, TargetError> {
        Self::checked(text, Url::parse(text), egress)
    }

    /// Checks the `Location` with which `from` redirects; it may be relative.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn redirect(from: &Url, location: &str, egress: &EgressClient) -> Result<Self, TargetError> {
        Self::checked(location, from.join(location), egress)
    }

    /// Checks the answer of `com.atproto.sync.getBlob`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_wire(output: &BlobUrlOutput, egress: &EgressClient) -> Result<Self, TargetError> {
        Self::parse(&output.url, egress)
    }

    fn checked(
        text: &str,
        url: Result<Url, url::ParseError>,
        egress: &EgressClient,
    ) -> Result<Self, TargetError> {
        if text.len() > MAX_URL_BYTES {
            return Err(TargetError::TooLong);
        }
        let mut url = url.map_err(|_| TargetError::NotAUrl)?;
        url.set_fragment(None);
        egress.check(&url).map_err(TargetError::Refused)?;
        Ok(Self(url))
    }

    /// The URL, for a request or a `Location`.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// The URL itself.
    #[must_use]
    pub fn into_url(self) -> Url {
        self.0
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreUrl").field(&self.0.host_str()).finish()
    }
}

/// A checked target of one part.
#[derive(Clone, Debug)]
pub struct PartTarget {
    /// Where it goes.
    pub url: StoreUrl,
    /// PUT, or POST to the hold itself.
    pub method: Method,
    /// What goes along.
    pub headers: HeaderMap,
}

impl PartTarget {
    /// Checks the answer of `io.atcr.hold.getPartUploadUrl` of the hold at `hold`.
    ///
    /// The method is PUT; POST is accepted only for the hold's own `uploadPart`. Headers are those that stores sign:
    /// `Content-Type`, `Content-MD5`, `x-amz-*`, and `X-Upload-Id` and `X-Part-Number` of `uploadPart`. `Host` and
    /// `Content-Length`, which some signers list, are left out, since every request has its own.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn from_wire(
        output: &GetPartUploadUrlOutput,
        hold: &Url,
        egress: &EgressClient,
    ) -> Result<Self, TargetError> {
        let url = StoreUrl::parse(&output.url, egress)?;
        let method = match output.method.as_str() {
            "PUT" => Method::PUT,
            "POST" if url.0.origin() == hold.origin() => Method::POST,
            _ => return Err(TargetError::Method),
        };
        if output.headers.len() > MAX_TARGET_HEADERS {
            return Err(TargetError::TooManyHeaders);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &output.headers {
            let refused = || TargetError::Header {
                name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
            };
            let name = HeaderName::try_from(name.as_str()).map_err(|_| refused())?;
            if name == header::HOST || name == header::CONTENT_LENGTH {
                continue;
            }
            if !is_stores(&name) || value.len() > MAX_HEADER_BYTES {
                return Err(refused());
            }
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self { url, method, headers })
    }
}

/// Whether a store may ask for the header.
fn is_stores(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-type" | "content-md5" | "x-upload-id" | "x-part-number"
    ) || name.as_str().starts_with("x-amz-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::egress::EgressPolicy;

    fn egress() -> EgressClient {
        EgressClient::new(EgressPolicy::default()).unwrap()
    }

    fn hold() -> Url {
        Url::parse("https://hold.example.com/").unwrap()
    }

    fn target(url: &str, method: &str, headers: &[(&str, &str)]) -> Result<PartTarget, TargetError> {
        let headers: BTreeMap<String, String> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let output = GetPartUploadUrlOutput {
            url: url.to_owned(),
            method: method.to_owned(),
            headers,
        };
        PartTarget::from_wire(&output, &hold(), &egress())
    }

    #[test]
    fn a_store_s_url_is_https_public_and_without_credentials() {
        let good = "https://bucket.s3.example.com/key?X-Amz-Signature=abc";
        assert_eq!(StoreUrl::parse(good, &egress()).unwrap().expose().as_str(), good);
        let long = format!("https://s3.example.com/{}", "x".repeat(MAX_URL_BYTES));
        assert!(matches!(
            StoreUrl::parse(&long, &egress()),
            Err(TargetError::TooLong)
        ));
        for bad in [
            "http://s3.example.com/key",
            "https://user:word@s3.example.com/key",
            "https://10.0.0.1/key",
            "https://169.254.169.254/latest/meta-data/",
            "https://localhost/key",
            "http://127.0.0.1:9000/key",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "//s3.example.com/key",
            "",
        ] {
            assert!(StoreUrl::parse(bad, &egress()).is_err(), "{bad}");
            let output = BlobUrlOutput { url: bad.to_owned() };
            assert!(StoreUrl::from_wire(&output, &egress()).is_err(), "{bad}");
            assert!(target(bad, "PUT", &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_redirect_leads_to_a_store_and_nowhere_else() {
        let from = Url::parse("https://hold.example.com/xrpc/com.atproto.sync.getBlob?cid=x").unwrap();
        let to = |location: &str| StoreUrl::redirect(&from, location, &egress());
        assert_eq!(
            to("/blobs/x#y").unwrap().into_url().as_str(),
            "https://hold.example.com/blobs/x"
        );
        assert_eq!(
            to("//s3.example.com/x").unwrap().into_url().as_str(),
            "https://s3.example.com/x"
        );
        for location in [
            "http://s3.example.com/x",
            "https://192.168.0.1/",
            "//[::1]/",
            "data:text/html,x",
        ] {
            assert!(to(location).is_err(), "{location}");
        }
        assert!(to(&"x".repeat(MAX_URL_BYTES + 1)).is_err());
    }

    #[test]
    fn a_part_is_put_and_posted_only_to_the_hold_itself() {
        assert_eq!(
            target("https://s3.example.com/", "PUT", &[]).unwrap().method,
            Method::PUT
        );
        let own = "https://hold.example.com/xrpc/io.atcr.hold.uploadPart";
        assert_eq!(target(own, "POST", &[]).unwrap().method, Method::POST);
        for (url, method) in [
            ("https://s3.example.com/", "POST"),
            ("https://hold.example.com:8443/", "POST"),
            ("https://s3.example.com/", "DELETE"),
            ("https://s3.example.com/", "put"),
            ("https://s3.example.com/", ""),
        ] {
            assert!(
                matches!(target(url, method, &[]), Err(TargetError::Method)),
                "{method} {url}"
            );
        }
    }

    #[test]
    fn only_headers_that_stores_sign_go_along() {
        let url = "https://s3.example.com/";
        let good = target(
            url,
            "PUT",
            &[
                ("Content-Type", "application/octet-stream"),
                ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
                ("X-Upload-Id", "1"),
                ("Host", "elsewhere.example.com"),
                ("Content-Length", "5"),
            ],
        )
        .unwrap();
        let mut names: Vec<&str> = good.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-amz-content-sha256", "x-upload-id"]);
        for (name, value) in [
            ("Authorization", "Bearer x"),
            ("Cookie", "a=b"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "upgrade"),
            ("x-amz-meta\r\nInjected", "x"),
            ("x-amz-meta", "a\r\nInjected: b"),
            ("", ""),
        ] {
            assert!(
                matches!(
                    target(url, "PUT", &[(name, value)]),
                    Err(TargetError::Header { .. })
                ),
                "{name}"
            );
        }
        let long = "x".repeat(MAX_HEADER_BYTES + 1);
        assert!(target(url, "PUT", &[("x-amz-a", &long)]).is_err());
        let names: Vec<String> = (0..=MAX_TARGET_HEADERS).map(|n| format!("x-amz-{n}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert!(matches!(
            target(url, "PUT", &many),
            Err(TargetError::TooManyHeaders)
        ));
    }

    #[test]
    fn nothing_prints_a_signed_url() {
        let target = target(
            "https://s3.example.com/key?sig=secret",
            "PUT",
            &[("x-amz-token", "hidden")],
        )
        .unwrap();
        let text = format!("{target:?}");
        assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
    }
}
