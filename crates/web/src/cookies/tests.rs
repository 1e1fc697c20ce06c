use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Cookie;
use crate::site::Site;

fn site(origin: &str) -> Site {
    Site {
        name: "registry".to_owned(),
        base_url: Url::parse(origin).unwrap(),
        origin: Url::parse(origin).unwrap(),
        terms_url: None,
        privacy_url: None,
        is_development: false,
        verify_flags: String::new(),
    }
}

fn written(site: &Site) -> String {
    let mut headers = HeaderMap::new();
    let value = SecretString::from("a".repeat(43));
    Cookie::Session.set(site, &mut headers, &value, 60);
    headers[SET_COOKIE].to_str().unwrap().to_owned()
}

#[test]
fn over_tls_a_cookie_is_of_this_host_alone() {
    let value = "a".repeat(43);
    assert_eq!(
        written(&site("https://registry.example")),
        format!("__Host-atcr_session={value}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure")
    );
    assert_eq!(
        written(&site("http://127.0.0.1:5000")),
        format!("atcr_session_5000={value}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax")
    );
}

#[test]
fn only_the_right_cookie_is_read_and_only_if_there_is_one() {
    let site = site("https://registry.example");
    let value = "b".repeat(43);
    let read = |cookies: &[String]| {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        let found = Cookie::Session.read(&site, &headers);
        found.map(|value| value.expose_secret().to_owned())
    };
    let own = format!("__Host-atcr_session={value}");
    assert_eq!(read(&[format!("a=b; {own}; c=d")]), Some(value.clone()));
    assert_eq!(read(&["a=b".to_owned(), own.clone()]), Some(value.clone()));
    for cookies in [
        vec![],
        vec![format!("atcr_session={value}")],
        vec![format!("__Host-atcr_sign_in={value}")],
        vec![format!("{own}; {own}")],
        vec![own.clone(), own.clone()],
        vec!["__Host-atcr_session=".to_owned()],
        vec!["__Host-atcr_session=short".to_owned()],
        vec![format!("__Host-atcr_session={}", "x".repeat(1000))],
        vec![format!("__Host-atcr_session={value}!")],
    ] {
        assert_eq!(read(&cookies), None, "{cookies:?}");
    }
}
