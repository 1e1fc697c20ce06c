use super::*;

fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
    let proxies = TrustedProxies::new(proxies.iter().map(|text| text.parse().unwrap()).collect());
    let mut headers = HeaderMap::new();
    for value in forwarded {
        headers.append(X_FORWARDED_FOR, value.parse().unwrap());
    }
    proxies
        .client(SocketAddr::new(peer.parse().unwrap(), 1), &headers)
        .counted
        .to_string()
}

#[test]
fn without_trusted_proxies_the_peer_is_the_client() {
    assert_eq!(client(&[], "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    assert_eq!(
        client(&["10.0.0.0/8"], "192.0.2.1", &["198.51.100.7"]),
        "192.0.2.1"
    );
}

#[test]
fn a_trusted_proxy_says_who_it_speaks_for() {
    assert_eq!(
        client(&["10.0.0.0/8"], "10.1.2.3", &["198.51.100.7"]),
        "198.51.100.7"
    );
    assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", &[]), "10.1.2.3");
    assert_eq!(client(&["::1"], "::1", &["2001:db8::7"]), "2001:db8::7");
    assert_eq!(
        client(&["127.0.0.1"], "::ffff:127.0.0.1", &["198.51.100.7"]),
        "198.51.100.7"
    );
}

#[test]
fn what_a_client_wrote_into_the_header_does_not_count() {
    let chain = &["203.0.113.9, 198.51.100.7", "10.0.0.2"];
    assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", chain), "198.51.100.7");
    assert_eq!(
        client(&["10.0.0.0/8"], "10.1.2.3", &["198.51.100.7, nonsense"]),
        "10.1.2.3"
    );
}

#[test]
fn a_client_behind_a_proxy_that_is_not_trusted_has_no_address_of_its_own() {
    let own = |proxies: &[&str], peer: &str, headers: &[(&'static str, &str)]| {
        let proxies = TrustedProxies::new(proxies.iter().map(|text| text.parse().unwrap()).collect());
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        proxies
            .client(peer, &headers)
            .own
            .map(|address| address.to_string())
    };
    let forwarded_for = [(X_FORWARDED_FOR, "198.51.100.7")];
    let forwarded = [(FORWARDED, "for=198.51.100.7")];
    assert_eq!(own(&[], "192.0.2.1", &[]).as_deref(), Some("192.0.2.1"));
    assert_eq!(own(&[], "192.0.2.1", &forwarded_for), None);
    assert_eq!(own(&["10.0.0.0/8"], "192.0.2.1", &forwarded_for), None);
    assert_eq!(own(&[], "192.0.2.1", &forwarded), None);
    // A trusted one that says it in a header that is not read, or in no words.
    assert_eq!(own(&["10.0.0.0/8"], "10.1.2.3", &forwarded), None);
    assert_eq!(
        own(&["10.0.0.0/8"], "10.1.2.3", &[(X_FORWARDED_FOR, "unknown")]),
        None
    );
    let named = own(&["10.0.0.0/8"], "10.1.2.3", &forwarded_for);
    assert_eq!(named.as_deref(), Some("198.51.100.7"));
}

#[test]
fn networks_are_prefixes() {
    let network: Network = "192.0.2.128/25".parse().unwrap();
    assert!(network.contains("192.0.2.200".parse().unwrap()));
    assert!(!network.contains("192.0.2.100".parse().unwrap()));
    let all: Network = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains("8.8.8.8".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
    for text in ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "host"] {
        assert!(text.parse::<Network>().is_err(), "{text}");
    }
}

#[test]
fn an_ipv6_network_is_one_client() {
    let key = |text: &str| client_key(text.parse::<IpAddr>().unwrap());
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}
