//! The grammar of server URLs.

use atcr_credential_helper::registry_url::{InvalidServerUrl, RegistryUrl, ServerAddress};
use proptest::prelude::*;

fn url(text: &str) -> Result<String, InvalidServerUrl> {
    text.parse::<RegistryUrl>().map(|url| url.to_string())
}

#[test]
fn every_spelling_of_a_registry_is_one_registry() {
    for text in [
        "atcr.io",
        "ATCR.io",
        "https://atcr.io",
        "https://atcr.io/",
        "https://atcr.io/v2/",
        "atcr.io/v1/",
        "atcr.io:443",
    ] {
        assert_eq!(url(text), Ok("https://atcr.io".to_owned()), "{text}");
    }
    assert_eq!(url("atcr.io:8443"), Ok("https://atcr.io:8443".to_owned()));
    assert_eq!(url("atcr.io:80"), Ok("https://atcr.io:80".to_owned()));
}

#[test]
fn this_machine_is_spoken_to_over_http_and_nothing_else_is() {
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(url(&format!("{host}:5000")), Ok(format!("http://{host}:5000")));
        assert_eq!(url(&format!("{host}:80")), Ok(format!("http://{host}")));
    }
    for host in [
        "127.0.0.2",
        "localhost.evil.example",
        "[::2]",
        "10.0.0.1",
        "0.0.0.0",
        "127.1",
    ] {
        assert_eq!(url(&format!("{host}:5000")), Ok(format!("https://{host}:5000")));
        assert_eq!(
            url(&format!("http://{host}:5000")),
            Err(InvalidServerUrl::PlainHttp)
        );
    }
}

#[test]
fn what_could_make_one_host_look_like_another_is_refused() {
    let cases = [
        ("", InvalidServerUrl::Empty),
        ("atcr.io\nevil", InvalidServerUrl::ControlCharacter),
        ("atcr.io\r", InvalidServerUrl::ControlCharacter),
        ("atcr.io\0", InvalidServerUrl::ControlCharacter),
        ("atcr.io\u{7f}", InvalidServerUrl::ControlCharacter),
        ("atcr.io@evil.example", InvalidServerUrl::Character),
        ("https://atcr.io:x@evil.example", InvalidServerUrl::Character),
        ("https://evil.example\\@atcr.io", InvalidServerUrl::Character),
        ("atcr%2eio", InvalidServerUrl::Character),
        ("atcr.io?x", InvalidServerUrl::Character),
        ("atcr.io#x", InvalidServerUrl::Character),
        (" atcr.io", InvalidServerUrl::Character),
        ("atcr.io ", InvalidServerUrl::Character),
        ("\u{430}tcr.io", InvalidServerUrl::Character),
        ("ftp://atcr.io", InvalidServerUrl::Scheme),
        ("://atcr.io", InvalidServerUrl::Scheme),
        ("atcr.io.", InvalidServerUrl::Host),
        (".atcr.io", InvalidServerUrl::Host),
        ("https://", InvalidServerUrl::Host),
        ("https:///atcr.io", InvalidServerUrl::Host),
        ("[::1", InvalidServerUrl::Host),
        ("[atcr.io]", InvalidServerUrl::Host),
        ("[::1]x:5000", InvalidServerUrl::Host),
        ("atcr.io:", InvalidServerUrl::Port),
        ("atcr.io:0", InvalidServerUrl::Port),
        ("atcr.io:65536", InvalidServerUrl::Port),
        ("atcr.io:x443", InvalidServerUrl::Port),
        ("atcr.io:443:443", InvalidServerUrl::Port),
    ];
    for (text, error) in cases {
        assert_eq!(url(text), Err(error), "{text:?}");
    }
    assert_eq!(url(&"a".repeat(2000)), Err(InvalidServerUrl::TooLong));
}

#[test]
fn a_bare_name_of_this_machine_may_also_mean_a_registry_with_tls() {
    let candidates = |text: &str| -> Vec<String> {
        let address = ServerAddress::parse(text).unwrap();
        address.candidates().iter().map(RegistryUrl::to_string).collect()
    };
    assert_eq!(
        candidates("localhost:5000"),
        ["http://localhost:5000", "https://localhost:5000"]
    );
    assert_eq!(candidates("localhost"), ["http://localhost", "https://localhost"]);
    assert_eq!(candidates("https://localhost:5000"), ["https://localhost:5000"]);
    assert_eq!(candidates("atcr.io"), ["https://atcr.io"]);
}

proptest! {
    #[test]
    fn what_parses_is_written_so_that_it_parses_to_the_same(text in "\\PC{0,40}|[a-z0-9.:/\\[\\]-]{1,30}|https?://[a-z.]{1,12}(:[0-9]{1,5})?(/.*)?") {
        if let Ok(parsed) = text.parse::<RegistryUrl>() {
            prop_assert_eq!(parsed.to_string().parse::<RegistryUrl>(), Ok(parsed.clone()));
            prop_assert!(parsed.host().is_ascii());
        }
    }
}
