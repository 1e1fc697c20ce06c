//! Sends browsers that came by another of this machine's names to the one that sign-ins come back to.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::HOST;
use http::{HeaderMap, Method, Uri};

use super::site::Site;

/// The layer. Only pages are concerned, and only on loopback: elsewhere a proxy may well have its reasons for another name.
pub async fn layer(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && let Some(place) = better_place(&site, request.headers(), request.uri())
    {
        return Redirect::temporary(&place).into_response();
    }
    next.run(request).await
}

fn better_place(site: &Site, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if site.origin.host_str() != Some("127.0.0.1") {
        return None;
    }
    let host = headers.get(HOST)?.to_str().ok()?;
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()?),
        _ => (host, 80),
    };
    let is_elsewhere =
        matches!(name, "localhost" | "[::1]") && site.origin.port_or_known_default() == Some(port);
    is_elsewhere.then(|| {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        format!("{}{path}", site.origin.as_str().trim_end_matches('/'))
    })
}
