//! Reading an answer: how long it may be, how slowly it may come, and whose memory it takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::answer_memory::AnswerMemory;
use super::error::EgressError;
use super::json::{self, JsonError};
use super::shared_budget::SharePermit;
use crate::bounds::FREE_ANSWER_BYTES;

/// How much of an answer is read, and how long it may take as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest body in bytes.
    pub max_bytes: usize,
    /// From the first look-up to the last byte.
    pub timeout: Duration,
}

/// How slowly a body may come. It is measured while the body takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest pause, and the time before the rate counts.
    pub grace: Duration,
    /// The lowest rate on average.
    pub bytes_per_second: u32,
}

/// A body's time so far.
#[derive(Clone, Copy, Debug)]
pub struct PaceWatch {
    pace: Pace,
    began: Instant,
}

impl PaceWatch {
    /// The time of a body that begins now.
    #[must_use]
    pub fn start(pace: Pace) -> Self {
        Self {
            pace,
            began: Instant::now(),
        }
    }

    /// When the next bytes must be there, if `received` bytes are.
    #[must_use]
    pub fn deadline(&self, received: u64) -> Instant {
        let Pace {
            grace,
            bytes_per_second,
        } = self.pace;
        let millis = received.saturating_mul(1000) / u64::from(bytes_per_second.max(1));
        let by_rate = self.began + grace + Duration::from_millis(millis);
        by_rate.min(Instant::now() + grace)
    }
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
    /// The body's part of the memory, kept until the answer is dropped.
    _read: Option<Arc<SharePermit>>,
    /// The part of what is made of the body, kept until the answer and everything that [`CappedBody::held`] was asked for are dropped.
    parsed: Option<Arc<SharePermit>>,
}

impl CappedBody {
    /// Parses the body within the bounds of [`crate::bounds`].
    ///
    /// # Errors
    /// See [`json::parse`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        json::parse(&self.bytes)
    }

    /// The part of the memory that is for what is parsed. Keep it beside what was parsed from the answer, as long as that lives.
    #[must_use]
    pub fn held(&self) -> Option<Arc<SharePermit>> {
        self.parsed.clone()
    }
}

/// Reads a body of at most `limits.max_bytes`; a longer one is given up as soon as it shows. A body beyond [`FREE_ANSWER_BYTES`] waits
/// once for memory for the most that it may come to, and again when it is complete for what parsing it may cost.
pub(super) async fn read_capped(
    mut response: reqwest::Response,
    limits: Limits,
    pace: Pace,
    memory: &AnswerMemory,
) -> Result<CappedBody, EgressError> {
    let host = host_text(response.url());
    let limit = limits.max_bytes;
    let too_large = || EgressError::TooLarge {
        host: host.clone(),
        limit,
    };
    let overloaded = |_| EgressError::Overloaded { host: host.clone() };
    let announced = response
        .content_length()
        .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let longest = announced.unwrap_or(limit);
    let patience = limits.timeout / 2;
    let mut read: Option<(SharePermit, PaceWatch)> = None;
    let mut bytes = BytesMut::new();
    loop {
        let next = match &read {
            None => response.chunk().await,
            Some((_, watch)) => {
                let deadline = watch.deadline(bytes.len() as u64);
                let slow = |_| EgressError::Timeout { host: host.clone() };
                tokio::time::timeout_at(deadline, response.chunk())
                    .await
                    .map_err(slow)?
            }
        };
        let Some(chunk) = next.map_err(EgressError::from_transport)? else {
            break;
        };
        let len = bytes.len() + chunk.len();
        if len > limit {
            return Err(too_large());
        }
        if len > FREE_ANSWER_BYTES && read.is_none() {
            let permit = memory.read(&host, longest, patience).await.map_err(overloaded)?;
            if let Some(length) = announced {
                bytes.reserve(length.saturating_sub(bytes.len()));
            }
            read = Some((permit, PaceWatch::start(pace)));
        }
        bytes.extend_from_slice(&chunk);
    }
    let (mut permit, mut parsed) = (None, None);
    if let Some((mut read, _)) = read {
        read.shrink_to(bytes.capacity());
        parsed = Some(
            memory
                .parse(&host, bytes.len(), patience)
                .await
                .map_err(overloaded)?,
        );
        permit = Some(read);
    }
    Ok(CappedBody {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        bytes: bytes.freeze(),
        _read: permit.map(Arc::new),
        parsed: parsed.map(Arc::new),
    })
}

pub(super) fn host_text(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_must_come_at_the_rate_and_without_long_pauses() {
        let grace = Duration::from_secs(3);
        let watch = PaceWatch::start(Pace {
            grace,
            bytes_per_second: 1000,
        });
        let began = Instant::now();
        assert_eq!(watch.deadline(0), began + grace);
        // A pause after a quick beginning is no longer for it.
        assert_eq!(watch.deadline(1_000_000), began + grace);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(watch.deadline(9_000), began + Duration::from_secs(12));
        assert_eq!(watch.deadline(6_000), began + Duration::from_secs(9));
        assert_eq!(watch.deadline(1_000_000), Instant::now() + grace);
    }
}
