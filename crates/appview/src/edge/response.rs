//! Making answers.

use atcr_server::request_log::RequestId;
use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;

/// An answer with a JSON body.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Our bodies are structs with string keys, which always serialise; an empty body would be the least wrong answer.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error as JSON: its name, a sentence, and the id of the request.
#[must_use]
pub fn json_error(status: StatusCode, name: &str, message: &str) -> Response {
    let mut body = json!({ "error": name, "message": message });
    if let Some(id) = RequestId::current() {
        body["requestId"] = id.as_str().into();
    }
    json(status, &body)
}

/// An answer with the header set of the `oci` crate, and a body.
#[must_use]
pub fn with_headers(status: StatusCode, headers: Vec<(&'static str, String)>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
    }
    response
}

/// An answer without a body, which says so.
#[must_use]
pub fn empty(status: StatusCode, headers: Vec<(&'static str, String)>) -> Response {
    let mut response = with_headers(status, headers, Body::empty());
    response
        .headers_mut()
        .entry(CONTENT_LENGTH)
        .or_insert(HeaderValue::from_static("0"));
    response
}

/// Adds the warning that an answer is not all it seems.
///
/// # Spec
/// distribution-spec v1.1, Warnings.
pub fn warning_header(headers: &mut HeaderMap, text: &str) {
    text_header(headers, atcr_oci::header::WARNING, &format!("299 - \"{text}\""));
}

/// Sets a header, unless its value has characters that no header may have.
pub fn text_header(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
