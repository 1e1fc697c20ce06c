//! The client of a directory.

use bytes::Bytes;
use http::{Method, StatusCode};
use url::Url;

use super::log::Entry;
use super::{LogError, Operation, PlcLog};
use crate::bounds::{ANSWER_TIMEOUT, MAX_ANSWER_BYTES, MAX_ERROR_MESSAGE_CHARS};
use crate::egress::{EgressClient, EgressError, Limits, json};
use crate::syntax::Did;

const LIMITS: Limits = Limits {
    max_bytes: MAX_ANSWER_BYTES,
    timeout: ANSWER_TIMEOUT,
};

/// Why the directory did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The directory does not know the DID.
    #[error("the directory {directory} does not know {did}")]
    NotFound {
        /// Its host.
        directory: String,
        /// The DID.
        did: Did,
    },
    /// The directory's operations do not prove what the DID is.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The directory refused the operation.
    #[error("the directory {directory} refused the operation ({status}): {message}")]
    Refused {
        /// Its host.
        directory: String,
        /// The answer's status.
        status: StatusCode,
        /// The directory's words, shortened.
        message: String,
    },
    /// The directory did not take the operation, since it gets too many. Retry later.
    #[error("the directory {directory} takes no more operations at the moment")]
    Busy {
        /// Its host.
        directory: String,
    },
    /// No usable answer. Retry later.
    #[error("the directory {directory} gives no usable answer: {reason}")]
    Unavailable {
        /// Its host.
        directory: String,
        /// Why, without the host's name.
        reason: String,
    },
}

impl DirectoryError {
    /// Whether the failure says nothing about the DID or the operation.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Busy { .. })
    }
}

/// A directory that the operator named.
#[derive(Clone, Debug)]
pub struct PlcDirectory {
    url: Url,
    client: EgressClient,
}

impl PlcDirectory {
    /// The directory at `url`.
    ///
    /// # Errors
    /// `Setup` if the client for the configured hosts cannot be built.
    pub fn new(url: Url) -> Result<Self, EgressError> {
        Ok(Self {
            url,
            client: EgressClient::for_configured_hosts()?,
        })
    }

    /// The verified operations of `did`.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`], [`DirectoryError::Log`]; [`DirectoryError::Unavailable`] for everything that says nothing about
    /// the DID.
    ///
    /// # Spec
    /// did:plc, `GET /:did/log/audit`.
    pub async fn log(&self, did: &Did) -> Result<PlcLog, DirectoryError> {
        let text = self.audit_log(did).await?;
        let entries: Vec<Entry> = json::parse(&text).map_err(|error| self.unavailable(error.to_string()))?;
        Ok(PlcLog::verify(did, entries)?)
    }

    /// The operations of `did` as the directory has them, unverified: what [`PlcLog::read`] reads.
    ///
    /// # Errors
    /// As [`log`](Self::log), but for the check.
    pub async fn audit_log(&self, did: &Did) -> Result<Bytes, DirectoryError> {
        let url = self.url_of(&format!("{did}/log/audit"));
        let answer = self
            .client
            .get_within(&url, "application/json", LIMITS)
            .await
            .map_err(|error| self.unavailable(error.detail()))?;
        match answer.status {
            StatusCode::OK => Ok(answer.bytes),
            StatusCode::NOT_FOUND => Err(DirectoryError::NotFound {
                directory: self.host(),
                did: did.clone(),
            }),
            StatusCode::GONE => Err(LogError::Deactivated { did: did.clone() }.into()),
            status => Err(self.unavailable(format!("status {status}"))),
        }
    }

    /// Makes `operation` the newest of `did`. One that is the newest already, or became so although the answer was lost, counts as
    /// done.
    ///
    /// # Errors
    /// [`DirectoryError::Refused`] and [`DirectoryError::Busy`] if the directory does not take it; those of [`log`](Self::log), and then it
    /// may have been taken.
    ///
    /// # Spec
    /// did:plc, `POST /:did`.
    pub async fn publish(&self, did: &Did, operation: &Operation) -> Result<(), DirectoryError> {
        let Err(refused) = self.submit(did, operation).await else {
            return Ok(());
        };
        match self.log(did).await {
            Ok(log) if log.newest() == Some(operation) => Ok(()),
            Ok(_) | Err(DirectoryError::NotFound { .. }) => Err(refused),
            // Whether it is the newest is not known.
            Err(error) => Err(error),
        }
    }

    async fn submit(&self, did: &Did, operation: &Operation) -> Result<(), DirectoryError> {
        let url = self.url_of(did.as_str());
        let request = self
            .client
            .request(Method::POST, &url)
            .map_err(|error| self.unavailable(error.detail()))?;
        let answer = self
            .client
            .send_capped(request.json(operation), LIMITS)
            .await
            .map_err(|error| self.unavailable(error.detail()))?;
        let status = answer.status;
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(DirectoryError::Busy {
                directory: self.host(),
            });
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Err(self.unavailable(format!("status {status}")));
        }
        let message = String::from_utf8_lossy(&answer.bytes);
        Err(DirectoryError::Refused {
            directory: self.host(),
            status,
            message: message
                .chars()
                .filter(|character| !character.is_control())
                .take(MAX_ERROR_MESSAGE_CHARS)
                .collect(),
        })
    }

    fn url_of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url
    }

    fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }

    fn unavailable(&self, reason: String) -> DirectoryError {
        DirectoryError::Unavailable {
            directory: self.host(),
            reason,
        }
    }
}
