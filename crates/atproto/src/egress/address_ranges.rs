//! Which addresses and names are public, of a private network, or this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::Host;

/// IPv4 networks that are not part of the public internet, or that only mean something locally
/// (IANA special-purpose registry), and Azure's host agent, which sits on a public address.
const REFUSED_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// IPv6 networks inside the global unicast range that are refused: protocol assignments with Teredo and ORCHID,
/// documentation, 6to4. Everything outside `2000::/3` is refused without being listed: unspecified, loopback,
/// IPv4-mapped and IPv4-compatible, NAT64, unique local, link-local, multicast.
const REFUSED_V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Global unicast, the only IPv6 range from which public hosts are numbered.
const GLOBAL_UNICAST_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether `address` belongs to the public internet.
///
/// An IPv6 address that carries an IPv4 address (mapped, compatible, 6to4, NAT64, Teredo, ISATAP) is never public,
/// whatever it carries: what it reaches depends on translators we cannot see.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !REFUSED_V4.iter().any(|network| in_network_v4(v4, *network)),
        IpAddr::V6(v6) => {
            in_network_v6(v6, GLOBAL_UNICAST_V6)
                && !REFUSED_V6.iter().any(|network| in_network_v6(v6, *network))
                && !is_isatap(v6)
        }
    }
}

/// Whether `host` can only mean this machine: `localhost`, a name below `.localhost`, `127.0.0.0/8` or `::1`.
pub fn is_loopback_host(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => is_localhost_name(name),
        Host::Ipv4(v4) => v4.is_loopback(),
        Host::Ipv6(v6) => v6.is_loopback(),
    }
}

/// Whether `name` is `localhost` or ends in `.localhost` (RFC 6761 §6.3), a final dot and case aside.
pub fn is_localhost_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// IPv4 networks of one's own (RFC 1918). Link-local addresses, where clouds keep their metadata, and those of carriers are not
/// among them.
const PRIVATE_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// IPv6 networks of one's own (RFC 4193).
const PRIVATE_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);

/// Endings of names that are never public.
const LOCAL_ENDINGS: &[&str] = &[".internal", ".local", ".lan", ".home.arpa", ".test"];

/// Whether `address` is in a network of one's own, which test mode may reach.
pub fn is_private_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => PRIVATE_V4.iter().any(|network| in_network_v4(v4, *network)),
        IpAddr::V6(v6) => in_network_v6(v6, PRIVATE_V6),
    }
}

/// Whether `name` can only mean a host of the local network: a name without a dot, or below `.internal`, `.local`, `.lan`,
/// `.home.arpa`, `.test`.
pub fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    !is_localhost_name(&name)
        && (!name.contains('.') || LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// Whether `host` is this machine or one of the local network, by its name or its address.
pub fn is_local_host(host: &Host<&str>) -> bool {
    is_loopback_host(host)
        || match host {
            Host::Domain(name) => is_local_name(name),
            Host::Ipv4(v4) => is_private_network(IpAddr::V4(*v4)),
            Host::Ipv6(v6) => is_private_network(IpAddr::V6(*v6)),
        }
}

fn in_network_v4(address: Ipv4Addr, (network, prefix): (Ipv4Addr, u32)) -> bool {
    let mask = u32::MAX << (32 - prefix);
    address.to_bits() & mask == network.to_bits() & mask
}

fn in_network_v6(address: Ipv6Addr, (network, prefix): (Ipv6Addr, u32)) -> bool {
    let mask = u128::MAX << (128 - prefix);
    address.to_bits() & mask == network.to_bits() & mask
}

/// ISATAP interface identifiers (RFC 5214 §6.1): `[02]00:5efe` before an IPv4 address.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, high, low, _, _] = address.segments();
    high & !0x0200 == 0 && low == 0x5efe
}

#[cfg(test)]
mod tests;
