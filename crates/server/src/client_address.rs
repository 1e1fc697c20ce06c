//! The address that a request comes from, behind proxies that the operator trusts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Once};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;

/// The header in which a proxy names its client.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The standard's header for the same (RFC 7239). It is not read; its presence says that the peer is not the client.
const FORWARDED: &str = "forwarded";

/// The address of a client, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The address that limits count: the client's own, or that of the proxy behind which the client cannot be told from others.
    pub counted: IpAddr,
    /// The client's own address; `None` if it is not known.
    pub own: Option<IpAddr>,
}

impl ClientAddress {
    /// The key under which limits count the client: an IPv4 address, or the /64 of an IPv6 address, since one customer has a whole
    /// network.
    #[must_use]
    pub fn key(&self) -> IpAddr {
        client_key(self.counted)
    }
}

/// The key under which limits count `address`; see [`ClientAddress::key`].
#[must_use]
pub fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Addresses of one network: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || format!("{text:?} is no address or network; write 10.0.0.1 or 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fail())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| fail())?;
        if prefix > bits {
            return Err(fail());
        }
        Ok(Self { address, prefix })
    }
}

impl Network {
    /// Whether `address` belongs to the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Parses a list of networks.
    ///
    /// # Errors
    /// A sentence about the first entry that is neither an address nor a network.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, String> {
        texts.iter().map(|text| text.parse()).collect()
    }
}

/// The proxies in front of this server.
#[derive(Debug)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    warning: Once,
}

impl TrustedProxies {
    /// Trusts peers in `networks` and no others.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self {
            networks,
            warning: Once::new(),
        }
    }

    /// The client of a request that came from `peer`: the last address in `X-Forwarded-For` that is not a trusted proxy's. If an
    /// untrusted peer forwarded the request, the client is unknown; the first time, a warning is logged.
    ///
    /// # Security
    /// The header of an untrusted peer is not read; otherwise every client could choose its address.
    #[must_use]
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.ip().to_canonical();
        let is_forwarded = [X_FORWARDED_FOR, FORWARDED]
            .iter()
            .any(|name| headers.contains_key(*name));
        if !is_forwarded {
            return ClientAddress {
                counted: peer,
                own: Some(peer),
            };
        }
        if !self.trusts(peer) {
            self.warning.call_once(|| {
                tracing::warn!(
                    %peer,
                    "a peer that server.trusted_proxies does not name forwarded a request; if it is the proxy in front of this \
                     server, name it there: until then all its clients count as one, and their addresses are not shown"
                );
            });
            return ClientAddress {
                counted: peer,
                own: None,
            };
        }
        self.named(peer, headers)
    }

    /// Whether `address` is that of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The client that `proxy`, which is trusted, names.
    fn named(&self, proxy: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let names: Vec<&str> = headers
            .get_all(X_FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        let mut client = ClientAddress {
            counted: proxy,
            own: None,
        };
        for name in names.into_iter().rev() {
            if !self.trusts(client.counted) {
                break;
            }
            let Ok(address) = name.trim().parse::<IpAddr>() else {
                client.own = None;
                break;
            };
            let address = address.to_canonical();
            client = ClientAddress {
                counted: address,
                own: Some(address),
            };
        }
        client
    }
}

/// Middleware: puts the [`ClientAddress`] of the request among its extensions. Requests that did not come through
/// [`serve`](crate::serve::serve) have none.
pub async fn layer(State(proxies): State<Arc<TrustedProxies>>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let client = proxies.client(*peer, request.headers());
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests;
