//! How to get the credential helper.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::visit::Visit;
use crate::edge::credential_helper::{Archive, Releases};
use atcr_web::site::Site;
use atcr_web::view::{Chrome, render};

/// The scripts that install the helper.
const SHELL_SCRIPT: &str = include_str!("../../../static/install/install.sh");
const POWERSHELL_SCRIPT: &str = include_str!("../../../static/install/install.ps1");

/// What stands in the scripts for the address of this site.
const PLACEHOLDER: &str = "{{BASE_URL}}";

#[derive(Template)]
#[template(path = "pages/install.html")]
struct InstallPage {
    chrome: Chrome,
    host: String,
    base_url: String,
    owner: String,
    version: Option<String>,
    /// There is a release for the scripts to install.
    has_releases: bool,
    archives: Vec<Archive>,
}

/// `GET /install`.
pub async fn page(visit: Visit, State(releases): State<Arc<Releases>>) -> Response {
    let chrome = visit.chrome();
    let release = releases.newest();
    let owner = chrome.visitor.as_ref().map(|visitor| visitor.name.clone());
    render(
        StatusCode::OK,
        &InstallPage {
            host: chrome.host(),
            base_url: chrome.site.url(""),
            owner: owner.unwrap_or_else(|| "alice.example.com".to_owned()),
            has_releases: release.is_some(),
            version: release.map(|release| release.version.clone()),
            archives: release
                .map(|release| release.archives.clone())
                .unwrap_or_default(),
            chrome,
        },
    )
}

/// `GET /install.sh` and `GET /static/install.sh`.
pub async fn shell(State(site): State<Arc<Site>>) -> Response {
    script(&site, SHELL_SCRIPT, "text/x-shellscript; charset=utf-8")
}

/// `GET /install.ps1` and `GET /static/install.ps1`.
pub async fn powershell(State(site): State<Arc<Site>>) -> Response {
    script(&site, POWERSHELL_SCRIPT, "text/plain; charset=utf-8")
}

fn script(site: &Site, text: &str, content_type: &'static str) -> Response {
    // The base URL is scheme, host and port, all of characters that mean nothing to a shell.
    let script = text.replace(PLACEHOLDER, &site.url(""));
    let mut response = Response::new(Body::from(script));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
