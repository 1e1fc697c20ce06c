//! Style sheet, scripts, fonts and icons, under addresses that change with what is in them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::LazyLock;

use askama::filters::HtmlSafe;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

mod files {
    include!(concat!(env!("OUT_DIR"), "/web/files.rs"));
}

/// All assets, by name.
static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(|| {
    let (sheets, others): (Vec<_>, Vec<_>) = files::FILES
        .iter()
        .copied()
        .partition(|(name, _)| name.ends_with(".css"));
    let mut assets: BTreeMap<&'static str, Asset> = others
        .into_iter()
        .map(|(name, bytes)| (name, Asset::new(name, Bytes::from_static(bytes))))
        .collect();
    for (name, bytes) in sheets {
        // A sheet names fonts by their plain names; with their addresses in it, its own address follows from theirs.
        let mut sheet = String::from_utf8_lossy(bytes).into_owned();
        for (other, asset) in &assets {
            sheet = sheet.replace(&format!("url(\"{other}\")"), &format!("url(\"{}\")", asset.url));
        }
        assets.insert(name, Asset::new(name, Bytes::from(sheet)));
    }
    assets
});

struct Asset {
    url: String,
    hash: String,
    bytes: Bytes,
    /// The same compressed, where that is worth it.
    gzip: Option<Bytes>,
}

impl Asset {
    fn new(name: &str, bytes: Bytes) -> Self {
        let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest(&bytes)[..9]);
        Self {
            url: format!("/static/{hash}/{name}"),
            hash,
            gzip: if name.ends_with(".woff2") {
                None
            } else {
                gzip(&bytes)
            },
            bytes,
        }
    }
}

fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// The address of the asset `name`; that of nothing if there is none, which a test would find.
#[must_use]
pub fn url(name: &str) -> &'static str {
    ASSETS.get(name).map_or("", |asset| asset.url.as_str())
}

/// An icon out of the sprite, for a template. The sprite has what templates ask for by `icon("…")`.
#[derive(Clone, Copy, Debug)]
pub struct Icon(pub &'static str);

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=\"icon\" aria-hidden=\"true\"><use href=\"{}#{}\"/></svg>",
            url("icons.svg"),
            self.0
        )
    }
}

impl HtmlSafe for Icon {}

/// `GET /static/{hash}/{name}`.
///
/// Under its own hash an asset never changes. A page from before an update may ask under an old hash: it gets what there is now, not
/// to be kept.
pub async fn serve(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.get(name.as_str()) else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let cache = if hash == asset.hash {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let takes_gzip = headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|encodings| encodings.split(',').any(|name| name.trim() == "gzip"));
    let compressed = asset.gzip.as_ref().filter(|_| takes_gzip);
    let mut response = Response::new(Body::from(compressed.unwrap_or(&asset.bytes).clone()));
    let headers = response.headers_mut();
    if asset.gzip.is_some() {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if compressed.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(&name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}
