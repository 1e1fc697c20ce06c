//! The port for DNS TXT records.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use crate::bounds::MAX_TXT_RECORDS;
use crate::egress::DEFAULT_TIMEOUT;

/// Port: TXT records of a name.
#[async_trait]
pub trait TxtLookup: Send + Sync {
    /// The TXT records of `name`, each with its strings joined. Empty if the name has none or does not exist.
    ///
    /// # Errors
    /// [`TxtLookupError`] if that could not be found out.
    async fn txt(&self, name: &str) -> Result<Vec<String>, TxtLookupError>;
}

/// The name servers gave no usable answer; the name may or may not exist.
#[derive(Clone, Debug, thiserror::Error)]
#[error("DNS look-up failed")]
pub struct TxtLookupError(#[source] pub Arc<dyn Error + Send + Sync>);

/// No complete answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer in time")]
struct NoAnswerInTime;

/// No name server is configured on this machine.
#[derive(Debug, thiserror::Error)]
#[error("this machine has no usable DNS configuration")]
struct NotConfigured;

/// DNS through the name servers of the system's configuration, read once. Keeps no cache of its own, so that
/// invalidating an identity really asks again.
pub struct SystemDns {
    resolver: Option<TokioResolver>,
}

impl SystemDns {
    /// Reads the system's DNS configuration. If that fails, every look-up fails as unreachable, with a warning here.
    #[must_use]
    pub fn new() -> Self {
        match TokioResolver::builder_tokio().and_then(start) {
            Ok(resolver) => Self {
                resolver: Some(resolver),
            },
            Err(error) => {
                tracing::warn!(%error, "no usable DNS configuration; handles cannot be resolved by DNS");
                Self { resolver: None }
            }
        }
    }
}

fn start(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = Duration::from_secs(1);
    options.attempts = 2;
    builder.build()
}

impl Default for SystemDns {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl TxtLookup for SystemDns {
    async fn txt(&self, name: &str) -> Result<Vec<String>, TxtLookupError> {
        let Some(resolver) = &self.resolver else {
            return Err(TxtLookupError(Arc::new(NotConfigured)));
        };
        // The final dot keeps the search list of the host out of it.
        let answer = tokio::time::timeout(DEFAULT_TIMEOUT, resolver.txt_lookup(format!("{name}.")))
            .await
            .map_err(|_| TxtLookupError(Arc::new(NoAnswerInTime)))?;
        match answer {
            Ok(lookup) => Ok(lookup
                .answers()
                .iter()
                .take(MAX_TXT_RECORDS)
                .filter_map(|record| match &record.data {
                    RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).ok(),
                    _ => None,
                })
                .collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(TxtLookupError(Arc::new(error))),
        }
    }
}

#[cfg(test)]
mod tests;
