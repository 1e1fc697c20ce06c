//! Places for answers and connections that last long. One client takes a share of them at most, and so does one network: whoever has
//! many addresses usually has them in one network.

use std::net::{IpAddr, Ipv6Addr};

use crate::address_gate::Exempt;
use crate::client_address::ClientAddress;
use crate::shared_places::{Place, SharedPlaces, Taken};

/// One network takes this part of all places at most.
const NETWORK_PART: usize = 4;
/// Bits of an IPv6 network that counts as one client: what one customer gets.
const CLIENT_BITS: u32 = 56;
/// Bits of an IPv6 and of an IPv4 network that counts as one network.
const NETWORK_BITS: (u32, u32) = (48, 24);

/// The places. Clones share them.
#[derive(Clone, Debug)]
pub struct ClientPlaces {
    by_client: SharedPlaces,
    by_network: SharedPlaces,
    /// Exempt clients have as many places of their own, so that strangers cannot take those.
    of_exempt: SharedPlaces,
    exempt: Exempt,
}

/// One place; dropping it makes room for another.
#[derive(Debug)]
pub struct ClientPlace {
    _place: Place,
    _of_client: Option<Place>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// All are taken.
    InTotal,
    /// The client has its share.
    OfClient,
    /// The client's network has its share.
    OfNetwork,
}

impl ClientPlaces {
    /// `all` places, of which one client takes `per_client`; as many again for clients that are `exempt`.
    #[must_use]
    pub fn new(all: usize, per_client: usize, exempt: Exempt) -> Self {
        Self {
            by_client: SharedPlaces::new(usize::MAX, per_client),
            by_network: SharedPlaces::new(all, per_client.max(all / NETWORK_PART)),
            of_exempt: SharedPlaces::new(all, all),
            exempt,
        }
    }

    /// A place for one more of `client`; `None` is a request that did not come over the network, and counts as exempt.
    ///
    /// # Errors
    /// [`NoPlace`] while those that it may have are taken.
    pub fn admit(&self, client: Option<&ClientAddress>) -> Result<ClientPlace, NoPlace> {
        let Some(client) = client.filter(|client| !self.exempt.covers(client)) else {
            let place = self.of_exempt.try_place("").map_err(|_| NoPlace::InTotal)?;
            return Ok(ClientPlace {
                _place: place,
                _of_client: None,
            });
        };
        let (one, network) = parties(client.counted);
        let of_client = self
            .by_client
            .try_place(&one.to_string())
            .map_err(|_| NoPlace::OfClient)?;
        let place = self.by_network.try_place(&network.to_string());
        Ok(ClientPlace {
            _place: place.map_err(|taken| match taken {
                Taken::Share => NoPlace::OfNetwork,
                Taken::All => NoPlace::InTotal,
            })?,
            _of_client: Some(of_client),
        })
    }
}

/// The client and the network that `address` belongs to.
fn parties(address: IpAddr) -> (IpAddr, IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let network = v4.to_bits() & (u32::MAX << (32 - NETWORK_BITS.1));
            (IpAddr::V4(v4), IpAddr::V4(network.into()))
        }
        IpAddr::V6(v6) => {
            let within = |bits: u32| {
                let mask = u128::MAX << (128 - bits);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            };
            (within(CLIENT_BITS), within(NETWORK_BITS.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> ClientAddress {
        let address = address.parse().unwrap();
        ClientAddress {
            counted: address,
            own: Some(address),
        }
    }

    fn taken(places: &ClientPlaces, address: &str) -> Result<ClientPlace, NoPlace> {
        places.admit(Some(&client(address)))
    }

    #[test]
    fn many_addresses_of_one_customer_are_one_client_and_its_network_takes_a_quarter() {
        let places = ClientPlaces::new(8, 1, Exempt::default());
        let _one = taken(&places, "2001:db8:1:1::1").unwrap();
        // Another /64 of the same /56.
        assert_eq!(taken(&places, "2001:db8:1:2::1").unwrap_err(), NoPlace::OfClient);
        let second = taken(&places, "2001:db8:1:100::1").unwrap();
        assert_eq!(
            taken(&places, "2001:db8:1:200::1").unwrap_err(),
            NoPlace::OfNetwork
        );
        drop(second);
        let _second = taken(&places, "2001:db8:1:200::1").unwrap();
        let _other = taken(&places, "2001:db8:2::1").unwrap();
        let _v4 = [
            taken(&places, "192.0.2.1").unwrap(),
            taken(&places, "192.0.2.2").unwrap(),
        ];
        assert_eq!(taken(&places, "192.0.2.3").unwrap_err(), NoPlace::OfNetwork);
        assert_eq!(
            taken(&places, "::ffff:192.0.2.1").unwrap_err(),
            NoPlace::OfClient,
            "the same client over IPv6 sockets"
        );
    }

    #[test]
    fn strangers_that_fill_all_places_leave_those_of_exempt_clients() {
        let exempt = Exempt::new(vec!["203.0.113.0/24".parse().unwrap()]);
        let places = ClientPlaces::new(2, 1, exempt);
        let _strangers = [
            taken(&places, "192.0.2.1").unwrap(),
            taken(&places, "198.51.100.1").unwrap(),
        ];
        assert_eq!(taken(&places, "2001:db8::1").unwrap_err(), NoPlace::InTotal);
        let _exempt = [
            taken(&places, "203.0.113.7").unwrap(),
            taken(&places, "203.0.113.7").unwrap(),
        ];
        assert_eq!(taken(&places, "203.0.113.7").unwrap_err(), NoPlace::InTotal);
        // A client that cannot be told from the others behind its proxy is not exempt because the proxy is.
        let hidden = ClientAddress {
            own: None,
            ..client("203.0.113.8")
        };
        assert_eq!(places.admit(Some(&hidden)).unwrap_err(), NoPlace::InTotal);
    }
}
