use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::is_public;

#[test]
fn addresses_that_are_not_the_public_internet_are_refused() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:0:53aa:64c:0:0:f5ff:fffe",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "3fff::1",
        "2606:4700::5efe:a00:1",
        "2606:4700::200:5efe:a00:1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn addresses_of_the_public_internet_are_accepted() {
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "126.255.255.255",
        "168.63.129.17",
        "172.15.255.255",
        "172.32.0.1",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.1",
        "223.255.255.255",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "2620:fe::fe",
    ] {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}

proptest! {
    #[test]
    fn no_ipv6_address_that_carries_an_ipv4_address_is_public(v4: [u8; 4], rest: u64) {
        let v4 = Ipv4Addr::from(v4);
        let low = u128::from(v4.to_bits());
        let [high, low16] = [(v4.to_bits() >> 16) as u16, (v4.to_bits() & 0xffff) as u16];
        let forms = [
            Ipv6Addr::from_bits(low),
            v4.to_ipv6_mapped(),
            Ipv6Addr::from_bits(0x0064_ff9b_u128 << 96 | low),
            Ipv6Addr::from_bits(0x2002_u128 << 112 | low << 80 | u128::from(rest)),
            Ipv6Addr::from_bits(0x2001_0000_u128 << 96 | low << 64 | u128::from(!v4.to_bits())),
            Ipv6Addr::new(0x2a00, 0x1450, 1, 2, 0, 0x5efe, high, low16),
        ];
        for form in forms {
            prop_assert!(!is_public(IpAddr::V6(form)), "{form}");
        }
    }
}
