//! Whose address a request comes from, behind proxies that the operator trusts.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Once;

use atcr_sessions::ClientAddress;
use http::HeaderMap;

/// Where proxies write whom they speak for.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Where they may write the same (RFC 7239). It is not read: that it is there says that the peer is not the client.
const FORWARDED: &str = "forwarded";

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
    /// Whether `address` is one of the network's.
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
}

/// The proxies in front of this server.
#[derive(Debug)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    warning: Once,
}

impl TrustedProxies {
    /// These and no others.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self {
            networks,
            warning: Once::new(),
        }
    }

    /// The client of a request that came from `peer`: the last address in `X-Forwarded-For` that is not a trusted proxy's. If the
    /// request was forwarded by somebody else, whose it is is not known; the first time that is logged.
    ///
    /// # Security
    /// The header of a peer that is not trusted is ignored, since otherwise every client could choose its address.
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
                    "a request was forwarded by a peer that server.trusted_proxies does not name; if that is the proxy in front \
                     of this server, name it there: all its clients count as one, and their addresses are not shown"
                );
            });
            return ClientAddress {
                counted: peer,
                own: None,
            };
        }
        self.named(peer, headers)
    }

    /// The client for whom `proxy`, which is trusted, says it speaks.
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

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests;
