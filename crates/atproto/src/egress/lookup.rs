//! Names to addresses, filtered where the connection is made.
//!
//! The HTTP library asks this resolver each time it opens a connection and connects to nothing but what it answers,
//! so there is no gap between check and use that a rebinding name server could slip through.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::error::EgressError;
use super::guard::Reach;
use crate::bounds::MAX_ADDRESSES;

/// Port: the addresses of a host name.
#[async_trait]
pub trait HostLookup: Send + Sync {
    /// All addresses of `host`, unfiltered.
    ///
    /// # Errors
    /// Whatever kept the name from being resolved, an absent name included.
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver, with its hosts file.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

#[async_trait]
impl HostLookup for SystemLookup {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0))
            .await?
            .map(|address| address.ip())
            .collect())
    }
}

/// The HTTP library's resolver: look up, drop what may not be reached.
pub(super) struct GuardedResolver {
    pub(super) lookup: Arc<dyn HostLookup>,
    pub(super) reach: Reach,
}

impl GuardedResolver {
    /// The addresses that may be connected to for `host`, at least one.
    pub(super) async fn permitted(
        lookup: &dyn HostLookup,
        reach: Reach,
        host: &str,
    ) -> Result<Vec<SocketAddr>, EgressError> {
        let found = lookup
            .addresses(host)
            .await
            .map_err(|source| EgressError::UnknownHost {
                host: host.to_owned(),
                source: Arc::new(source),
            })?;
        if found.is_empty() {
            let source = Arc::new(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            return Err(EgressError::UnknownHost {
                host: host.to_owned(),
                source,
            });
        }
        let permitted: Vec<SocketAddr> = found
            .into_iter()
            .filter(|address| reach.permits(host, *address))
            .take(MAX_ADDRESSES)
            .map(|address| SocketAddr::new(address, 0))
            .collect();
        if permitted.is_empty() {
            return Err(EgressError::NameRefused {
                host: host.to_owned(),
            });
        }
        Ok(permitted)
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.lookup);
        let reach = self.reach;
        Box::pin(async move {
            let permitted = Self::permitted(lookup.as_ref(), reach, name.as_str()).await?;
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
