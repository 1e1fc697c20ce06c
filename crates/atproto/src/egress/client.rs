//! The client: no proxies, no referrer, time and body limits. What it may ask at all is [`super::guard`]'s to say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, header};
use reqwest::redirect;
use url::Url;

use super::XRPC_LIMITS;
use super::answer::{CappedBody, Limits, Pace, host_text, read_capped};
use super::answer_memory::AnswerMemory;
use super::error::EgressError;
use super::guard::{EgressPolicy, Reach, check_redirect, check_url, follow_checked};
use super::host_permits::{HostLimit, HostPermits};
use super::lookup::{GuardedResolver, HostLookup, SystemLookup};
use crate::bounds::{ANSWER_MEMORY_BYTES, ANSWER_PACE, CONNECT_TIMEOUT, DOCUMENT_TIMEOUT, HOST_LIMIT};

/// The HTTP client for hosts that others name. Cheap to clone; clones share their connections.
///
/// # Security
/// Connects to public addresses only (checked per connection, see [`super::lookup`]), speaks https only, ignores proxy
/// variables of the environment, sends no `Referer`, and follows redirects only for documents, checking every hop.
#[derive(Clone)]
pub struct EgressClient {
    reach: Reach,
    /// Follows up to [`MAX_REDIRECTS`](crate::bounds::MAX_REDIRECTS) redirects; for documents.
    following: reqwest::Client,
    /// Never follows; for everything that may carry a token or a body.
    direct: reqwest::Client,
    /// Absent for hosts of the operator's choice.
    hosts: Option<HostPermits>,
    memory: AnswerMemory,
    pace: Pace,
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
        Self::build(Reach::Public(policy), lookup)
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
            Reach::Public(_) => client(redirect::Policy::custom(move |attempt| {
                follow_checked(reach, attempt)
            }))?,
            Reach::Configured => direct.clone(),
        };
        Ok(Self {
            reach,
            following,
            direct,
            hosts: match reach {
                Reach::Public(_) => Some(HostPermits::new(HOST_LIMIT)),
                Reach::Configured => None,
            },
            memory: AnswerMemory::new(ANSWER_MEMORY_BYTES),
            pace: ANSWER_PACE,
        })
    }

    /// The same client with other limits for each host; [`HOST_LIMIT`] unless this is called.
    #[must_use]
    pub fn with_host_limit(mut self, limit: HostLimit) -> Self {
        self.hosts = Some(HostPermits::new(limit));
        self
    }

    /// The same client with its answers counted in `memory`; one of [`ANSWER_MEMORY_BYTES`] of its own unless this is called.
    #[must_use]
    pub fn with_memory(mut self, memory: AnswerMemory) -> Self {
        self.memory = memory;
        self
    }

    /// The same client for answers that come at another pace; [`ANSWER_PACE`] unless this is called.
    #[must_use]
    pub fn with_pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// What answers that are being read or worked on are counted in.
    #[must_use]
    pub fn memory(&self) -> &AnswerMemory {
        &self.memory
    }

    /// How slowly a body may come.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// The policy this client was made with.
    #[must_use]
    pub fn policy(&self) -> EgressPolicy {
        match self.reach {
            Reach::Public(policy) => policy,
            Reach::Configured => EgressPolicy::of_server(true),
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
                timeout: DOCUMENT_TIMEOUT,
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

    /// Whether an answer from `from` may send us to `to`; for those who follow redirects themselves.
    ///
    /// # Errors
    /// As [`Self::check`], and `AddressRefused` from a host of the internet to this machine or its network, also where such hosts are
    /// allowed.
    pub fn check_redirect(&self, from: &Url, to: &Url) -> Result<(), EgressError> {
        check_redirect(from, to)?;
        self.check(to)
    }

    /// Sends a request made by [`Self::request`] and reads its answer within `limits`. Waiting for other requests to the same host and
    /// for memory counts as time.
    ///
    /// # Errors
    /// [`EgressError`]; `Busy` and `Overloaded` if others take up what this request needs.
    pub async fn send_capped(
        &self,
        request: reqwest::RequestBuilder,
        limits: Limits,
    ) -> Result<CappedBody, EgressError> {
        let (client, request) = request.build_split();
        let request = request.map_err(EgressError::from_transport)?;
        let host = host_text(request.url());
        let answer = async {
            let _permit = match &self.hosts {
                Some(hosts) => Some(hosts.acquire(request.url()).await?),
                None => None,
            };
            let response = client
                .execute(request)
                .await
                .map_err(EgressError::from_transport)?;
            read_capped(response, limits, self.pace, &self.memory).await
        };
        let answer = tokio::time::timeout(limits.timeout, answer)
            .await
            .unwrap_or_else(|_| Err(EgressError::Timeout { host }));
        answer.inspect_err(note)
    }

    /// Sends a request made by [`Self::request`] and returns when its answer begins; reading the rest is the caller's to bound, in time
    /// and in length.
    ///
    /// # Errors
    /// As [`Self::send_capped`]; `Timeout` if the answer has not begun after `timeout`.
    pub async fn open(
        &self,
        request: reqwest::RequestBuilder,
        timeout: Duration,
    ) -> Result<reqwest::Response, EgressError> {
        let (client, request) = request.build_split();
        let request = request.map_err(EgressError::from_transport)?;
        let host = host_text(request.url());
        let answer = async {
            let _permit = match &self.hosts {
                Some(hosts) => Some(hosts.acquire(request.url()).await?),
                None => None,
            };
            client.execute(request).await.map_err(EgressError::from_transport)
        };
        let answer = tokio::time::timeout(timeout, answer)
            .await
            .unwrap_or_else(|_| Err(EgressError::Timeout { host }));
        answer.inspect_err(note)
    }
}

/// The log gets what the error's text leaves out.
fn note(error: &EgressError) {
    tracing::debug!(detail = error.detail(), "an outgoing request failed");
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
