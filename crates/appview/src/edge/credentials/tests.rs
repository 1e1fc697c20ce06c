use http::HeaderValue;
use secrecy::ExposeSecret;

use super::*;

fn read(value: &str) -> Result<Credentials, EdgeError> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
    Credentials::read(&headers)
}

fn basic(pair: &str) -> (String, String) {
    match read(&format!("Basic {}", STANDARD.encode(pair))).unwrap() {
        Credentials::Basic { username, password } => (username, password.expose_secret().to_owned()),
        other => panic!("not Basic: {other:?}"),
    }
}

#[test]
fn a_password_may_have_colons() {
    assert_eq!(
        basic("alice.test:a:b"),
        ("alice.test".to_owned(), "a:b".to_owned())
    );
}

#[test]
fn a_did_may_be_the_user_name() {
    assert_eq!(
        basic("did:plc:abc:pass:word"),
        ("did:plc:abc".to_owned(), "pass:word".to_owned())
    );
    assert_eq!(
        basic("did:web:host%3A80:pw"),
        ("did:web:host%3A80".to_owned(), "pw".to_owned())
    );
}

#[test]
fn nothing_and_an_empty_pair_are_no_credentials() {
    assert!(matches!(
        Credentials::read(&HeaderMap::new()),
        Ok(Credentials::None)
    ));
    assert!(matches!(
        read(&format!("Basic {}", STANDARD.encode(":"))),
        Ok(Credentials::None)
    ));
}

#[test]
fn what_is_neither_bearer_nor_basic_is_refused() {
    for value in ["Digest abc", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "bearer"] {
        assert!(read(value).is_err(), "{value}");
    }
    assert!(matches!(read("bEaReR abc"), Ok(Credentials::Bearer(token)) if token == "abc"));
}

#[test]
fn two_headers_are_refused() {
    let mut headers = HeaderMap::new();
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
    headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer b"));
    assert!(Credentials::read(&headers).is_err());
}
