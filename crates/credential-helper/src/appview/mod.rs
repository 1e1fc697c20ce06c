//! The client of a registry's appview: device flow, sign-in check, release information. Used by commands that people
//! run; `get` never comes here.

mod http;
mod page;
pub mod scans;
mod wire;

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use self::http::agent;
use self::page::{is_did, is_handle};
pub use self::page::{is_page, page_origin};
use self::wire::{DeviceCodeRow, DeviceTokenRow, is_pending, message};

use crate::printer::plain;
use crate::protocol;
use crate::registry_url::RegistryUrl;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(10);
/// Longest answer to an API call, in bytes.
const MAX_ANSWER: u64 = 256 * 1024;
/// Longest device secret, in bytes.
const MAX_SECRET: usize = 4096;
/// Bounds of what a registry may say about time, in seconds (RFC 8628 §3.2 leaves them open).
const MAX_INTERVAL_SECS: u64 = 60;
const MAX_EXPIRY_SECS: u64 = 3600;

/// A registry that did not do what it was asked.
#[derive(Debug, Error)]
pub enum AppViewError {
    /// No connection, no TLS, no answer in time.
    #[error("cannot reach {registry}: {}", plain(&source.to_string()))]
    Unreachable {
        /// Who was asked.
        registry: RegistryUrl,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The answer is none of this protocol.
    #[error("{registry} does not answer as an ATCR registry: {}", plain(what))]
    Garbage {
        /// Who was asked.
        registry: RegistryUrl,
        /// What is wrong with the answer.
        what: String,
    },
    /// Refused, with a reason.
    #[error("{registry} refused with status {status}: {}", plain(message))]
    Refused {
        /// Who was asked.
        registry: RegistryUrl,
        /// The HTTP status.
        status: u16,
        /// The reason.
        message: String,
    },
    /// The registry ends devices on its settings page only.
    #[error("{0} does not revoke devices for this program")]
    CannotRevoke(RegistryUrl),
    /// Asked too often.
    #[error("{registry} asks to try again in {} s", retry_after.as_secs())]
    TooManyRequests {
        /// Who was asked.
        registry: RegistryUrl,
        /// How long it wants to be left alone.
        retry_after: Duration,
    },
}

impl AppViewError {
    /// Whether the same question may be answered a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TooManyRequests { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Garbage { .. } | Self::CannotRevoke(_) => false,
        }
    }
}

/// A device flow that was begun.
#[derive(Clone, Debug)]
pub struct DeviceCode {
    /// The secret that polls carry; it is not shown.
    pub device_code: SecretString,
    /// What the user compares or enters: `ABCD-1234`.
    pub user_code: String,
    /// Where the code is entered.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the code lives.
    pub expires_in: Duration,
    /// The least time between two polls.
    pub interval: Duration,
}

/// A device that was approved.
#[derive(Clone, Debug)]
pub struct DeviceLogin {
    /// The secret; it is given once.
    pub secret: SecretString,
    /// Who approved. `None` for a handle that does not resolve both ways (`handle.invalid`).
    pub handle: Option<String>,
    /// Who approved.
    pub did: String,
}

/// The answer to one poll.
#[derive(Clone, Debug)]
pub enum Poll {
    /// The user has not decided.
    Pending,
    /// The same, and polls come too fast.
    SlowDown,
    /// Approved.
    Approved(DeviceLogin),
    /// Denied.
    Denied,
    /// Too late.
    Expired,
}

/// Whether a secret still works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInState {
    /// It does.
    Valid,
    /// It does not; the registry's sentence says what to do.
    Ended(String),
}

/// What the registry says about the newest helper.
#[derive(Clone, Debug, Deserialize)]
pub struct Release {
    /// `0.2.0`.
    pub version: String,
    /// One for each platform.
    #[serde(default)]
    pub archives: Vec<Archive>,
    /// The `did:key` that signs archives.
    #[serde(default)]
    pub signing_key: Option<String>,
}

/// A release for one platform.
#[derive(Clone, Debug, Deserialize)]
pub struct Archive {
    /// `linux`, `darwin` or `windows`.
    pub os: String,
    /// `amd64` or `arm64`.
    pub arch: String,
    /// Where it is: a URL, or a path at the registry.
    pub url: String,
    /// Hexadecimal SHA-256 of the archive.
    pub sha256: String,
}

/// A registry's appview.
#[derive(Clone, Debug)]
pub struct AppView {
    agent: Agent,
    registry: RegistryUrl,
}

impl AppView {
    /// A client of `registry`. Redirects are not followed: nothing here has a reason to go elsewhere with a secret.
    #[must_use]
    pub fn new(registry: &RegistryUrl) -> Self {
        Self {
            agent: agent(registry, CALL_TIMEOUT, 0),
            registry: registry.clone(),
        }
    }

    /// Begins a device flow for a device called `device_name`.
    ///
    /// # Errors
    /// [`AppViewError`]
    pub fn request_device_code(&self, device_name: &str) -> Result<DeviceCode, AppViewError> {
        let mut response = self.post(
            "/auth/device/code",
            &serde_json::json!({ "device_name": device_name }),
        )?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(&mut response));
        }
        let row: DeviceCodeRow = self.read_json(&mut response)?;
        let garbage = |what: &str| self.garbage(what);
        let is_code = |code: &str| {
            (4..=32).contains(&code.len())
                && code
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !is_code(&row.user_code) {
            return Err(garbage("its user code is not valid"));
        }
        for uri in std::iter::once(&row.verification_uri).chain(&row.verification_uri_complete) {
            if !is_page(uri) {
                return Err(garbage(
                    "its sign-in page is neither at an https address nor on this machine",
                ));
            }
        }
        Ok(DeviceCode {
            device_code: SecretString::from(row.device_code),
            user_code: row.user_code,
            verification_uri: row.verification_uri,
            verification_uri_complete: row.verification_uri_complete,
            expires_in: Duration::from_secs(row.expires_in.min(MAX_EXPIRY_SECS)),
            interval: Duration::from_secs(row.interval.clamp(1, MAX_INTERVAL_SECS)),
        })
    }

    /// Asks whether the user has decided.
    ///
    /// The words of the flow (`authorization_pending` and the others) count with every status below 500: this project's appview
    /// sends them with 400, as RFC 8628 has it, others with 200 or another status. 202, 204 and 428 mean "pending" by themselves.
    ///
    /// # Errors
    /// [`AppViewError`]
    pub fn poll_device_token(&self, device_code: &SecretString) -> Result<Poll, AppViewError> {
        let body = serde_json::json!({ "device_code": device_code.expose_secret() });
        let mut response = self.post("/auth/device/token", &body)?;
        let status = response.status();
        let says_when = response.headers().contains_key("retry-after");
        if status.is_server_error() || (status == StatusCode::TOO_MANY_REQUESTS && says_when) {
            return Err(self.refusal(&mut response));
        }
        let bytes = self.read_bytes(&mut response)?;
        let row: DeviceTokenRow = match serde_json::from_slice(&bytes) {
            Ok(row) => row,
            Err(error) if status == StatusCode::OK => return Err(self.not_json(&error)),
            Err(_) => DeviceTokenRow::default(),
        };
        match (row.error.as_deref(), row.device_secret, row.did) {
            (Some("authorization_pending"), ..) => Ok(Poll::Pending),
            (Some("slow_down"), ..) => Ok(Poll::SlowDown),
            (Some("access_denied"), ..) => Ok(Poll::Denied),
            (Some("expired_token"), ..) => Ok(Poll::Expired),
            (None, Some(secret), Some(did)) if status.is_success() => self.approved(secret, row.handle, did),
            (None, ..) if is_pending(status) => Ok(Poll::Pending),
            (None, ..) if status == StatusCode::OK => {
                Err(self.garbage("the answer has neither an error nor a device secret"))
            }
            _ => Err(self.refusal_of(&response, &bytes)),
        }
    }

    fn approved(&self, secret: String, handle: Option<String>, did: String) -> Result<Poll, AppViewError> {
        if secret.len() > MAX_SECRET || !protocol::is_secret(&secret) {
            return Err(self.garbage("the device secret is not valid"));
        }
        if !is_did(&did) {
            return Err(self.garbage("the DID is not valid"));
        }
        let handle = handle.filter(|handle| !handle.is_empty() && handle != "handle.invalid");
        if handle.as_deref().is_some_and(|handle| !is_handle(handle)) {
            return Err(self.garbage("the handle is not valid"));
        }
        Ok(Poll::Approved(DeviceLogin {
            secret: SecretString::from(secret),
            handle: handle.map(|handle| handle.to_ascii_lowercase()),
            did,
        }))
    }

    /// Ends a device at the registry. A secret that is unknown there counts as ended.
    ///
    /// # Errors
    /// [`AppViewError::CannotRevoke`] where the registry has no such call; else the other [`AppViewError`]s
    pub fn revoke_device(&self, secret: &SecretString) -> Result<(), AppViewError> {
        let body = serde_json::json!({ "device_secret": secret.expose_secret() });
        let mut response = self.post("/auth/device/revoke", &body)?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Err(AppViewError::CannotRevoke(self.registry.clone()))
            }
            _ => Err(self.refusal(&mut response)),
        }
    }

    /// Signs in as Docker would, asking for no access.
    ///
    /// # Errors
    /// [`AppViewError`]; a refused secret is [`SignInState::Ended`].
    pub fn check_sign_in(&self, username: &str, secret: &SecretString) -> Result<SignInState, AppViewError> {
        let mut pair = String::new();
        // Writing into a string does not fail.
        let _ = write!(pair, "{username}:{}", secret.expose_secret());
        let credentials = base64::engine::general_purpose::STANDARD.encode(pair);
        let url = self
            .registry
            .join(&format!("/auth/token?service={}", self.registry.host()));
        let mut response = self
            .agent
            .get(&url)
            .header("Authorization", format!("Basic {credentials}"))
            .call()
            .map_err(|source| self.unreachable(source))?;
        match response.status() {
            StatusCode::OK => Ok(SignInState::Valid),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let body = self.read_bytes(&mut response).unwrap_or_default();
                Ok(SignInState::Ended(message(&body)))
            }
            _ => Err(self.refusal(&mut response)),
        }
    }

    /// Asks for the newest release of the helper; `None` when this registry has none.
    ///
    /// # Errors
    /// [`AppViewError`]
    pub fn newest_release(&self) -> Result<Option<Release>, AppViewError> {
        let mut response = self
            .agent
            .get(self.registry.join("/api/credential-helper/version"))
            .call()
            .map_err(|source| self.unreachable(source))?;
        match response.status() {
            StatusCode::OK => self.read_json(&mut response).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(&mut response)),
        }
    }

    /// Downloads at most `limit` bytes. Redirects are followed, as release hosts use them; what comes is verified by
    /// the caller. `None` when there is no such file.
    ///
    /// # Errors
    /// [`AppViewError`]
    pub fn download(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, AppViewError> {
        let url = if url.starts_with('/') && !url.starts_with("//") {
            self.registry.join(url)
        } else {
            url.to_owned()
        };
        if !is_page(&url) {
            return Err(self.garbage("the archive is neither at an https address nor on this machine"));
        }
        let mut response = agent(&self.registry, DOWNLOAD_TIMEOUT, 5)
            .get(&url)
            .call()
            .map_err(|source| self.unreachable(source))?;
        match response.status() {
            StatusCode::OK => response
                .body_mut()
                .with_config()
                .limit(limit)
                .read_to_vec()
                .map(Some)
                .map_err(|source| self.unreachable(source)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(&mut response)),
        }
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<Response<Body>, AppViewError> {
        let body = serde_json::to_vec(body).map_err(|error| self.garbage(&error.to_string()))?;
        self.agent
            .post(self.registry.join(path))
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .send(&body)
            .map_err(|source| self.unreachable(source))
    }

    fn read_bytes(&self, response: &mut Response<Body>) -> Result<Vec<u8>, AppViewError> {
        response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(|source| self.unreachable(source))
    }

    fn read_json<T: for<'a> Deserialize<'a>>(
        &self,
        response: &mut Response<Body>,
    ) -> Result<T, AppViewError> {
        let bytes = self.read_bytes(response)?;
        serde_json::from_slice(&bytes).map_err(|error| self.not_json(&error))
    }

    /// serde_json says where and what kind, never which value: no secret gets into the sentence.
    fn not_json(&self, error: &serde_json::Error) -> AppViewError {
        self.garbage(&format!(
            "its answer is not valid JSON (line {}, column {})",
            error.line(),
            error.column()
        ))
    }

    fn refusal(&self, response: &mut Response<Body>) -> AppViewError {
        let bytes = self.read_bytes(response).unwrap_or_default();
        self.refusal_of(response, &bytes)
    }

    /// A refusal whose body is `body`.
    fn refusal_of(&self, response: &Response<Body>, body: &[u8]) -> AppViewError {
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let retry_after = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.parse().ok())
                .unwrap_or(MAX_INTERVAL_SECS);
            return AppViewError::TooManyRequests {
                registry: self.registry.clone(),
                retry_after: Duration::from_secs(retry_after.clamp(1, MAX_EXPIRY_SECS)),
            };
        }
        if status.is_redirection() || status == StatusCode::NOT_FOUND {
            return self.garbage(&format!("status {}", status.as_u16()));
        }
        AppViewError::Refused {
            registry: self.registry.clone(),
            status: status.as_u16(),
            message: message(body),
        }
    }

    fn unreachable(&self, source: ureq::Error) -> AppViewError {
        AppViewError::Unreachable {
            registry: self.registry.clone(),
            source: Box::new(source),
        }
    }

    fn garbage(&self, what: &str) -> AppViewError {
        AppViewError::Garbage {
            registry: self.registry.clone(),
            what: what.to_owned(),
        }
    }
}
