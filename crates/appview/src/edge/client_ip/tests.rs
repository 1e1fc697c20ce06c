use super::*;

fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
    let proxies = TrustedProxies::new(proxies.iter().map(|text| text.parse().unwrap()).collect());
    let mut headers = HeaderMap::new();
    for value in forwarded {
        headers.append(X_FORWARDED_FOR, value.parse().unwrap());
    }
    proxies
        .client(SocketAddr::new(peer.parse().unwrap(), 1), &headers)
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
fn what_the_client_itself_wrote_does_not_count() {
    let chain = &["203.0.113.9, 198.51.100.7", "10.0.0.2"];
    assert_eq!(client(&["10.0.0.0/8"], "10.1.2.3", chain), "198.51.100.7");
    assert_eq!(
        client(&["10.0.0.0/8"], "10.1.2.3", &["198.51.100.7, nonsense"]),
        "10.1.2.3"
    );
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
