//! Releases of the credential helper: which one is the newest, and its files where the operator keeps them here.
//!
//! All is read from the release's `checksums.txt`, lines of a SHA-256 and a file's name as `sha256sum` writes them, when the server
//! starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, Path as UrlPath, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::response::{json, json_error};
use crate::state::AppState;

/// What archives' names begin with; then come version, system and architecture: `docker-credential-atcr_0.1.0_Linux_x86_64.tar.gz`.
const PREFIX: &str = "docker-credential-atcr_";

/// The file with the names and hashes of all others.
const CHECKSUMS: &str = "checksums.txt";

/// The newest release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// `0.1.0`.
    pub version: String,
    /// One for each platform.
    pub archives: Vec<Archive>,
    /// The `did:key` whose signatures lie beside the archives, as `<file>.sig`.
    pub signing_key: Option<String>,
}

/// A release for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// `linux`, `darwin` or `windows`.
    pub os: &'static str,
    /// `amd64` or `arm64`.
    pub arch: &'static str,
    /// Where it is.
    pub url: String,
    /// Hexadecimal.
    pub sha256: String,
}

impl Archive {
    /// Its file's name.
    #[must_use]
    pub fn file(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }
}

/// What is offered.
#[derive(Debug, Default)]
pub struct Releases {
    newest: Option<Release>,
    /// Files that may be had from here, by name.
    files: BTreeMap<String, PathBuf>,
}

impl Releases {
    /// The release in `folder`. Archives are had from `elsewhere`, a URL that ends with a slash, or else from `here`, likewise.
    ///
    /// # Errors
    /// A sentence about what cannot be read or understood.
    pub fn load(
        folder: &Path,
        here: &str,
        elsewhere: Option<&str>,
        signing_key: Option<String>,
    ) -> Result<Self, String> {
        let path = folder.join(CHECKSUMS);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (mut archives, mut versions, mut files) = (Vec::new(), Vec::new(), BTreeMap::new());
        files.insert(CHECKSUMS.to_owned(), path.clone());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (sha256, name) = parse_line(line)
                .ok_or_else(|| format!("{}: {line:?} is no SHA-256 and file name", path.display()))?;
            for name in [name.to_owned(), format!("{name}.sig")] {
                files.insert(name.clone(), folder.join(name));
            }
            if let Some((version, os, arch)) = parse_name(name) {
                versions.push(version.to_owned());
                archives.push(Archive {
                    os,
                    arch,
                    url: format!("{}{name}", elsewhere.unwrap_or(here)),
                    sha256: sha256.to_ascii_lowercase(),
                });
            }
        }
        versions.sort();
        versions.dedup();
        let [version] = versions.as_slice() else {
            return Err(format!(
                "{}: must name the archives of one version, and names {} versions",
                path.display(),
                versions.len()
            ));
        };
        Ok(Self {
            newest: Some(Release {
                version: version.clone(),
                archives,
                signing_key,
            }),
            files: if elsewhere.is_some() {
                BTreeMap::new()
            } else {
                files
            },
        })
    }

    /// The newest release, if any is offered.
    #[must_use]
    pub fn newest(&self) -> Option<&Release> {
        self.newest.as_ref()
    }
}

fn parse_line(line: &str) -> Option<(&str, &str)> {
    let (sha256, name) = line.trim().split_once(char::is_whitespace)?;
    let name = name.trim_start().trim_start_matches('*');
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_plain = !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte));
    (is_hash && is_plain).then_some((sha256, name))
}

/// Version, system and architecture of an archive.
fn parse_name(name: &str) -> Option<(&str, &'static str, &'static str)> {
    let rest = name.strip_prefix(PREFIX)?;
    let rest = rest
        .strip_suffix(".tar.gz")
        .or_else(|| rest.strip_suffix(".zip"))?;
    let (version, platform) = rest.split_once('_')?;
    let (os, arch) = platform.split_once('_')?;
    let os = match os.to_ascii_lowercase().as_str() {
        "linux" => "linux",
        "darwin" => "darwin",
        "windows" => "windows",
        _ => return None,
    };
    let arch = match arch {
        "x86_64" | "amd64" => "amd64",
        "arm64" | "aarch64" => "arm64",
        _ => return None,
    };
    Some((version, os, arch))
}

/// `GET /api/credential-helper/version`.
pub async fn version(State(releases): State<Arc<Releases>>) -> Response {
    let Some(release) = releases.newest() else {
        let message = "this registry offers no release of the credential helper";
        return json_error(StatusCode::NOT_FOUND, "NotFound", message);
    };
    let mut response = json(StatusCode::OK, release);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// `GET /dist/{file}`: only files that `checksums.txt` names, so no path can lead elsewhere.
pub async fn file(State(releases): State<Arc<Releases>>, UrlPath(name): UrlPath<String>) -> Response {
    let opened = match releases.files.get(&name) {
        Some(path) => tokio::fs::File::open(path).await.ok(),
        None => None,
    };
    let Some(file) = opened else {
        return json_error(StatusCode::NOT_FOUND, "NotFound", "there is no such file");
    };
    let length = file.metadata().await.map(|metadata| metadata.len());
    let content_type = if name == CHECKSUMS {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    };
    let mut response = Response::new(Body::from_stream(ReaderStream::new(file)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    if let Ok(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

impl FromRef<AppState> for Arc<Releases> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.releases)
    }
}

#[cfg(test)]
mod tests;
