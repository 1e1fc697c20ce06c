//! The client: schemes, redirects, no proxies, time and body limits.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::redirect;
use url::{Host, Url};

use super::address_policy::is_loopback_host;
use super::error::EgressError;
use super::lookup::{GuardedResolver, HostLookup, Reach, SystemLookup};
use super::{CONNECT_TIMEOUT, DEFAULT_TIMEOUT, MAX_REDIRECTS, XRPC_LIMITS};

/// What hosts named by others may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EgressPolicy {
    /// Development only: `localhost`, names below it and loopback addresses are reachable too, over plain HTTP as well.
    pub allow_loopback: bool,
}

/// How much of an answer is read, and how long it may take as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest body in bytes.
    pub max_bytes: usize,
    /// From the first look-up to the last byte.
    pub timeout: Duration,
}

/// An answer read whole, within its limits.
#[derive(Clone, Debug)]
pub struct CappedBody {
    /// Status of the final answer.
    pub status: StatusCode,
    /// Headers of the final answer.
    pub headers: HeaderMap,
    /// The body, verbatim.
    pub bytes: Bytes,
}

/// The HTTP client for hosts that somebody else named. Cheap to clone; clones share their connections.
///
/// # Security
/// Connects to public addresses only (checked per connection, see [`super::lookup`]), speaks https only, ignores proxy
/// variables of the environment, sends no `Referer`, and follows redirects only for documents, checking every hop.
#[derive(Clone)]
pub struct EgressClient {
    reach: Reach,
    /// Follows up to [`MAX_REDIRECTS`] redirects; for documents.
    following: reqwest::Client,
    /// Never follows; for everything that may carry a token or a body.
    direct: reqwest::Client,
}

impl EgressClient {
    /// A client under `policy` that uses the system's resolver.
    ///
    /// # Errors
    /// `Setup` if the TLS roots cannot be loaded.
    pub fn new(policy: EgressPolicy) -> Result<Self, EgressError> {
        Self::with_lookup(policy, Arc::new(SystemLookup))
    }

    /// A client under `policy` whose host names are looked up by `lookup`; its answers are filtered all the same.
    ///
    /// # Errors
    /// `Setup` if the TLS roots cannot be loaded.
    pub fn with_lookup(policy: EgressPolicy, lookup: Arc<dyn HostLookup>) -> Result<Self, EgressError> {
        Self::build(
            Reach::Public {
                allow_loopback: policy.allow_loopback,
            },
            lookup,
        )
    }

    /// A client for hosts the operator wrote into the configuration (a PLC directory on a private network, say): any
    /// address, http or https, no redirects. Never give it a URL that came from elsewhere.
    ///
    /// # Errors
    /// `Setup` if the TLS roots cannot be loaded.
    pub fn for_configured_hosts() -> Result<Self, EgressError> {
        Self::build(Reach::Configured, Arc::new(SystemLookup))
    }

    fn build(reach: Reach, lookup: Arc<dyn HostLookup>) -> Result<Self, EgressError> {
        let client = |redirects: redirect::Policy| {
            reqwest::Client::builder()
                .user_agent(concat!("atcr/", env!("CARGO_PKG_VERSION")))
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .dns_resolver(Arc::new(GuardedResolver {
                    lookup: Arc::clone(&lookup),
                    reach,
                }))
                .redirect(redirects)
                .build()
                .map_err(|source| EgressError::Setup {
                    source: Arc::new(source),
                })
        };
        let direct = client(redirect::Policy::none())?;
        let following = match reach {
            Reach::Public { .. } => client(redirect::Policy::custom(move |attempt| {
                follow_checked(reach, attempt)
            }))?,
            Reach::Configured => direct.clone(),
        };
        Ok(Self {
            reach,
            following,
            direct,
        })
    }

    /// The policy this client was made with.
    #[must_use]
    pub fn policy(&self) -> EgressPolicy {
        EgressPolicy {
            allow_loopback: self.reach
                != Reach::Public {
                    allow_loopback: false,
                },
        }
    }

    /// Says whether `url` may be contacted as far as the URL itself tells; names are judged again when connecting.
    ///
    /// # Errors
    /// `UrlRefused` for the scheme or credentials, `AddressRefused` for a literal address or `localhost`.
    pub fn check(&self, url: &Url) -> Result<(), EgressError> {
        check_url(self.reach, url)
    }

    /// Fetches a small document with GET: redirects followed, 3 s in all, at most `max_bytes` of body.
    ///
    /// Any status is an answer; only the absence of one is an error.
    pub async fn get_capped(
        &self,
        url: &Url,
        max_bytes: usize,
        accept: &str,
    ) -> Result<CappedBody, EgressError> {
        self.get_within(
            url,
            accept,
            Limits {
                max_bytes,
                timeout: DEFAULT_TIMEOUT,
            },
        )
        .await
    }

    /// [`Self::get_capped`] with limits of the caller's choice.
    pub async fn get_within(
        &self,
        url: &Url,
        accept: &str,
        limits: Limits,
    ) -> Result<CappedBody, EgressError> {
        self.check(url)?;
        let request = self.following.get(url.clone()).header(header::ACCEPT, accept);
        self.send_capped(request, limits).await
    }

    /// A request for XRPC calls and streams, under the same guard but following no redirect and with no time limit but
    /// that of connecting: set one, or bound the stream.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn request(&self, method: Method, url: &Url) -> Result<reqwest::RequestBuilder, EgressError> {
        self.check(url)?;
        Ok(self.direct.request(method, url.clone()))
    }

    /// Sends a request made by [`Self::request`] and reads its answer within `limits`.
    pub async fn send_capped(
        &self,
        request: reqwest::RequestBuilder,
        limits: Limits,
    ) -> Result<CappedBody, EgressError> {
        let (client, request) = request.build_split();
        let request = request.map_err(EgressError::from_transport)?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let answer = async {
            let response = client
                .execute(request)
                .await
                .map_err(EgressError::from_transport)?;
            read_capped(response, limits.max_bytes).await
        };
        tokio::time::timeout(limits.timeout, answer)
            .await
            .map_err(|_| EgressError::Timeout { host })?
    }
}

impl fmt::Debug for EgressClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressClient")
            .field("reach", &self.reach)
            .finish_non_exhaustive()
    }
}

impl atrium_xrpc::HttpClient for EgressClient {
    async fn send_http(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, Box<dyn std::error::Error + Send + Sync + 'static>> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())?;
        let request = self
            .request(parts.method, &url)?
            .headers(parts.headers)
            .body(body);
        let answer = self.send_capped(request, XRPC_LIMITS).await?;
        let mut response = http::Response::new(Vec::from(answer.bytes));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// Reads a body of at most `limit` bytes; a longer one is given up as soon as it shows.
async fn read_capped(mut response: reqwest::Response, limit: usize) -> Result<CappedBody, EgressError> {
    let host = response.url().host_str().unwrap_or_default().to_owned();
    let announced = response.content_length();
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(EgressError::TooLarge { host, limit });
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(EgressError::from_transport)? {
        if bytes.len() + chunk.len() > limit {
            return Err(EgressError::TooLarge { host, limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(CappedBody {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        bytes: bytes.freeze(),
    })
}

fn follow_checked(reach: Reach, attempt: redirect::Attempt<'_>) -> redirect::Action {
    let last = attempt.previous().last();
    if attempt.previous().len() > MAX_REDIRECTS {
        let host = last.map(host_text).unwrap_or_default();
        return attempt.error(EgressError::TooManyRedirects { host });
    }
    // Even in development a public host has no business pointing at this machine.
    if loopback(attempt.url()) && last.is_some_and(|url| !loopback(url)) {
        let host = host_text(attempt.url());
        return attempt.error(EgressError::AddressRefused { host });
    }
    match check_url(reach, attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(error) => attempt.error(error),
    }
}

fn loopback(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback_host(&host))
}

/// The part of the guard that needs no look-up. Literal addresses must be judged here, since the HTTP library
/// connects to them without asking a resolver; the URL parser has by now turned `0x7f.1` and `2130706433` into what they are.
fn check_url(reach: Reach, url: &Url) -> Result<(), EgressError> {
    let refused = |reason| {
        Err(EgressError::UrlRefused {
            origin: url.origin().ascii_serialization(),
            reason,
        })
    };
    let Some(host) = url.host() else {
        return refused("the URL has no host");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refused("the URL contains credentials");
    }
    let here = is_loopback_host(&host);
    match (url.scheme(), reach) {
        ("https", _) | ("http", Reach::Configured) => {}
        ("http", Reach::Public { allow_loopback: true }) if here => {}
        _ => return refused("only https is spoken"),
    }
    let permitted = match (reach, host) {
        (Reach::Configured, _) => true,
        (Reach::Public { allow_loopback }, _) if here => allow_loopback,
        (_, Host::Domain(_)) => true,
        (_, Host::Ipv4(v4)) => super::address_policy::is_public(IpAddr::V4(v4)),
        (_, Host::Ipv6(v6)) => super::address_policy::is_public(IpAddr::V6(v6)),
    };
    if permitted {
        Ok(())
    } else {
        Err(EgressError::AddressRefused { host: host_text(url) })
    }
}

fn host_text(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}
