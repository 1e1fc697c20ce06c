//! Lists of packages that the hold has kept, to be looked up again.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use atcr_atproto::egress::EgressClient;
use atcr_scan_protocol::SECRET_HEADER;
use atcr_scan_protocol::bounds::{MAX_COMPRESSED_BYTES, MAX_DOCUMENT_BYTES};
use flate2::read::GzDecoder;
use http::{HeaderValue, Method, StatusCode};
use url::Url;

use crate::error::ScanError;

/// How long the hold may take to begin its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The longest pause within it.
const PAUSE: Duration = Duration::from_mins(1);

/// The lists of one hold. As with results, only the path of an address counts.
#[derive(Clone, Debug)]
pub struct KeptLists {
    base: Url,
    client: EgressClient,
    secret: HeaderValue,
}

fn failed(why: impl std::fmt::Display) -> ScanError {
    ScanError::Fetch(format!("the list of packages: {why}"))
}

impl KeptLists {
    /// The lists of the hold at `base`.
    #[must_use]
    pub fn new(base: Url, client: EgressClient, mut secret: HeaderValue) -> Self {
        secret.set_sensitive(true);
        Self { base, client, secret }
    }

    /// Fetches the list at `list_url`, which is in gzip, into the file `path`.
    ///
    /// # Errors
    /// `Fetch`, also if it is longer than a document may be; `Workspace`.
    pub async fn fetch(&self, list_url: &Url, path: PathBuf) -> Result<(), ScanError> {
        let mut url = self.base.clone();
        url.set_path(list_url.path());
        url.set_query(list_url.query());
        let request = self
            .client
            .request(Method::GET, &url)
            .map_err(failed)?
            .header(SECRET_HEADER, self.secret.clone());
        let mut response = self.client.open(request, ANSWER).await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(failed(format!("the hold answers {}", response.status().as_u16())));
        }
        let mut packed = Vec::new();
        loop {
            let piece = tokio::time::timeout(PAUSE, response.chunk()).await;
            let Some(piece) = piece.map_err(failed)?.map_err(failed)? else {
                break;
            };
            if packed.len() + piece.len() > MAX_COMPRESSED_BYTES {
                return Err(failed("it is too long"));
            }
            packed.extend_from_slice(&piece);
        }
        let unpacked = tokio::task::spawn_blocking(move || unpack(&packed, &path)).await;
        unpacked.map_err(failed)?
    }
}

fn unpack(packed: &[u8], path: &Path) -> Result<(), ScanError> {
    let workspace = || ScanError::workspace("cannot write a list of packages");
    let mut file = File::create_new(path).map_err(workspace())?;
    let mut list = GzDecoder::new(packed).take(MAX_DOCUMENT_BYTES as u64 + 1);
    let (mut buffer, mut len) = (vec![0; 64 * 1024], 0);
    loop {
        let read = match list.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        len += read;
        file.write_all(&buffer[..read]).map_err(workspace())?;
    }
    if len > MAX_DOCUMENT_BYTES {
        return Err(failed("it is too long"));
    }
    Ok(())
}
