//! What a URL alone tells: schemes, credentials, literal addresses.

use super::*;

#[test]
fn urls_that_are_refused_in_production() {
    let client = client(PRODUCTION);
    for text in [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com:70/",
        "data:text/plain,hello",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://127.0.0.1./",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://2130706433/",
        "https://①②⑦.0.0.1/",
        "https://127%2e0%2e0%2e1/",
        "https://localhost/",
        "https://LOCALHOST:8443/",
        "https://localhost./",
        "https://api.localhost/",
        "https://0/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://0xa9fea9fe/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166/",
        "https://192.168.1.1:8443/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[::127.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[64:ff9b::a00:1]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[2001:0:53aa:64c::f5ff:fffe]/",
    ] {
        assert!(
            client.check(&url(text)).is_err_and(|error| error.is_refusal()),
            "{text}"
        );
    }
}

#[test]
fn urls_that_are_accepted() {
    for text in [
        "https://example.com/",
        "https://example.com:8443/x?y=z",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
    ] {
        client(PRODUCTION).check(&url(text)).unwrap();
        client(DEVELOPMENT).check(&url(text)).unwrap();
    }
    for text in [
        "http://localhost:8080/",
        "http://pds.localhost/",
        "http://127.0.0.1:2583/",
        "http://[::1]/",
        "https://127.0.0.2/",
    ] {
        client(DEVELOPMENT).check(&url(text)).unwrap();
    }
}

#[test]
fn no_host_of_the_internet_sends_us_to_this_machine() {
    let (public, local) = (url("https://registry.example/"), url("http://127.0.0.1:9000/"));
    let (development, production) = (client(DEVELOPMENT), client(PRODUCTION));
    development.check_redirect(&local, &local).unwrap();
    development.check_redirect(&local, &public).unwrap();
    production.check_redirect(&public, &public).unwrap();
    for (client, from) in [
        (&development, &public),
        (&production, &public),
        (&production, &local),
    ] {
        assert!(
            client.check_redirect(from, &local).unwrap_err().is_refusal(),
            "{from}"
        );
    }
}

#[test]
fn the_development_allowance_opens_loopback_and_nothing_else() {
    let client = client(DEVELOPMENT);
    for text in [
        "http://example.com/",
        "http://10.0.0.1/",
        "https://10.0.0.1/",
        "https://192.168.0.1/",
        "http://0.0.0.0/",
        "https://0.0.0.0/",
        "https://[::]/",
        "http://169.254.169.254/",
        "https://169.254.169.254/",
        "https://[::ffff:127.0.0.1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost.example.com/",
        "http://notlocalhost/",
        "https://[fd00::1]/",
        "ftp://localhost/",
    ] {
        assert!(
            client.check(&url(text)).is_err_and(|error| error.is_refusal()),
            "{text}"
        );
    }
}

#[test]
fn test_mode_opens_private_networks_as_well_and_no_others() {
    let client = client(EgressPolicy::of_server(true));
    for text in [
        "http://172.28.0.3:8080/",
        "https://10.0.0.1/",
        "http://192.168.0.1/",
        "http://[fd00::1]:8080/",
        "http://hold:8080/",
        "http://hold.internal/",
        "http://localhost:5000/",
    ] {
        client.check(&url(text)).unwrap();
    }
    for text in [
        "http://example.com/",
        "http://8.8.8.8/",
        "http://169.254.169.254/",
        "https://169.254.169.254/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[fe80::1]/",
        "https://[::ffff:10.0.0.1]/",
        "http://hold.internal.example.com/",
    ] {
        assert!(
            client.check(&url(text)).is_err_and(|error| error.is_refusal()),
            "{text}"
        );
    }
}
