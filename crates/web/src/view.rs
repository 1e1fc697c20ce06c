//! The data of the layout around every page.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::appearance::Appearance;
use super::assets::{self, Icon};
use super::site::Site;

/// The visitor of a page.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The account.
    pub did: String,
    /// The handle, or else the DID.
    pub name: String,
    /// The handle.
    pub handle: Option<String>,
    /// For forms.
    pub csrf_token: String,
}

/// The page around a page's own part.
#[derive(Clone, Debug)]
pub struct Chrome {
    /// The site.
    pub site: Arc<Site>,
    /// Who is signed in.
    pub visitor: Option<Visitor>,
    /// Path and query, to come back to.
    pub here: String,
    /// How the visitor's browser shows pages.
    pub appearance: Appearance,
}

impl Chrome {
    /// The handle or DID of who is signed in; empty for anyone else.
    #[must_use]
    pub fn visitor_name(&self) -> &str {
        self.visitor.as_ref().map_or("", |visitor| visitor.name.as_str())
    }

    /// The address of an asset.
    #[must_use]
    pub fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }

    /// An icon.
    #[must_use]
    pub fn icon(&self, name: &'static str) -> Icon {
        Icon(name)
    }

    /// The host in images' names.
    #[must_use]
    pub fn host(&self) -> String {
        self.site.host()
    }

    /// Whether the page is `path` itself, for the navigation.
    #[must_use]
    pub fn is_at(&self, path: &str) -> bool {
        self.here.split('?').next() == Some(path)
    }
}

/// The answer with a page. Pages show who is signed in and carry tokens of forms, so no cache may keep them.
#[must_use]
pub fn render(status: StatusCode, page: &impl Template) -> Response {
    let html = match page.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a page cannot be rendered"
            );
            return failed();
        }
    };
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn failed() -> Response {
    let mut response = Response::new(Body::from("internal error"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
