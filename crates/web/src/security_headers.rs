//! Headers that restrict what browsers do with this server's answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::site::Site;

/// Pages load nothing from elsewhere, run no script that is not a file of ours, and are in no frame.
macro_rules! policy {
    ($form_action:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; ",
            "connect-src 'self'; manifest-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action ",
            $form_action
        )
    };
}

/// For most pages.
const POLICY: &str = policy!("'self'");

/// For pages whose form leads to an account's server: browsers hold the redirect against the form, and which server it will be is not
/// known before.
const SIGN_IN_POLICY: &str = policy!("'self' https:");

/// The same in a network for development, whose servers speak plain HTTP.
const DEVELOPMENT_SIGN_IN_POLICY: &str = policy!("'self' https: http:");

/// Lets forms of the page `response` lead to other servers.
pub fn allow_sign_in(site: &Site, response: &mut Response) {
    let policy = if site.is_development {
        DEVELOPMENT_SIGN_IN_POLICY
    } else {
        SIGN_IN_POLICY
    };
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
}

/// The layer, for every route; what container clients get is not for browsers, and says so as well.
pub async fn layer(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let is_page = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if site.is_secure() {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
    if is_page {
        protect_page(headers);
    }
    response
}

fn protect_page(headers: &mut HeaderMap) {
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in [
        (X_FRAME_OPTIONS, "DENY"),
        // Forms need the origin that `no-referrer` would hide; other sites get nothing either way.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
