//! Whose a host is, as far as its name tells.

use std::net::{IpAddr, Ipv6Addr};

/// Second levels under which countries register names for others.
const SECOND_LEVELS: [&str; 9] = ["ac", "co", "com", "edu", "gov", "ne", "net", "or", "org"];

/// The registered name that `host` is below: its owner can have any number of names there. For an address the address itself, of
/// IPv6 its /48.
///
/// It goes by the form of the name and not by a list of registries. Where it errs, several owners count as one, who then share what
/// one party may take.
#[must_use]
pub fn party(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !(u128::MAX >> 48)).to_string(),
        };
    }
    let mut labels = host.rsplit('.');
    let (top, second) = (
        labels.next().unwrap_or_default(),
        labels.next().unwrap_or_default(),
    );
    let count = if top.len() == 2 && SECOND_LEVELS.contains(&second) {
        3
    } else {
        2
    };
    let labels: Vec<&str> = host.rsplitn(count + 1, '.').take(count).collect();
    let mut name = labels.iter().rev().copied().collect::<Vec<_>>().join(".");
    name.make_ascii_lowercase();
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_one_registered_name_are_one_party() {
        for (host, whose) in [
            ("evil.example", "evil.example"),
            ("a.b.evil.example.", "evil.example"),
            ("A.Evil.Example", "evil.example"),
            ("pds.alice.co.uk", "alice.co.uk"),
            ("x.abc.io", "abc.io"),
            ("hold", "hold"),
            ("127.0.0.1", "127.0.0.1"),
            ("[2001:db8:1:2::3]", "2001:db8:1::"),
            ("", ""),
        ] {
            assert_eq!(party(host), whose, "{host}");
        }
    }
}
