//! Documents of a result on their way to the hold, compressed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use atcr_atproto::egress::{EgressClient, Limits};
use atcr_oci::{Algorithm, Digest, DigestHasher};
use atcr_scan_protocol::bounds::MAX_COMPRESSED_BYTES;
use atcr_scan_protocol::{DocumentKind, SECRET_HEADER, UploadReceipt};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Method, StatusCode, header};
use tokio_util::io::ReaderStream;
use url::Url;

use crate::error::ScanError;

/// How long an upload may take, with the time in which the hold stores it.
const UPLOAD: Duration = Duration::from_mins(5);

/// How much of the hold's answer is read.
const ANSWER_BYTES: usize = 64 * 1024;

/// Pauses between tries.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(45),
];

/// Why a document did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The hold does not want it: the job is another scanner's, or is done.
    #[error("the hold refuses the document with {0}")]
    Refused(StatusCode),
    /// It cannot be sent at all.
    #[error(transparent)]
    Unsendable(#[from] ScanError),
    /// The hold could not be reached, several times.
    #[error("the document cannot be sent: {0}")]
    Failed(String),
}

/// Where documents go: to the hold that the operator named, at the path that it gave the job. Its own idea of its address does not
/// count: from here it may have another one, and a job must not send the scanner elsewhere.
#[derive(Clone, Debug)]
pub struct Results {
    base: Url,
    client: EgressClient,
    secret: HeaderValue,
}

struct Packed {
    path: PathBuf,
    bytes: u64,
    digest: Digest,
}

impl Results {
    /// Documents for the hold at `base`.
    #[must_use]
    pub fn new(base: Url, client: EgressClient, mut secret: HeaderValue) -> Self {
        secret.set_sensitive(true);
        Self { base, client, secret }
    }

    /// Sends the document at `path`; `results_url` is the job's.
    ///
    /// # Errors
    /// [`UploadError`]
    pub async fn upload(
        &self,
        results_url: &Url,
        kind: DocumentKind,
        path: &Path,
    ) -> Result<(), UploadError> {
        let document = path.to_owned();
        let packed = tokio::task::spawn_blocking(move || pack(&document, kind)).await;
        let packed = packed.map_err(|error| UploadError::Failed(error.to_string()))??;
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{}",
            results_url.path().trim_end_matches('/'),
            kind.as_str()
        ));
        url.set_query(results_url.query());
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.put(&url, kind, &packed).await {
                Err(error @ UploadError::Failed(_)) => error,
                outcome => return outcome,
            };
            let Some(pause) = pauses.next() else {
                return Err(error);
            };
            tracing::debug!(%error, "sending a document again");
            tokio::time::sleep(*pause).await;
        }
    }

    async fn put(&self, url: &Url, kind: DocumentKind, packed: &Packed) -> Result<(), UploadError> {
        let failed = |error: String| UploadError::Failed(error);
        let file = tokio::fs::File::open(&packed.path)
            .await
            .map_err(ScanError::workspace("cannot read a document"))?;
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, 64 * 1024));
        let request = self
            .client
            .request(Method::PUT, url)
            .map_err(|error| failed(error.to_string()))?
            .header(SECRET_HEADER, self.secret.clone())
            .header(header::CONTENT_TYPE, kind.media_type())
            .header(header::CONTENT_ENCODING, "gzip")
            .header(header::CONTENT_LENGTH, packed.bytes)
            .body(body);
        let limits = Limits {
            max_bytes: ANSWER_BYTES,
            timeout: UPLOAD,
        };
        let answer = self
            .client
            .send_capped(request, limits)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let status = answer.status;
        if status.is_client_error()
            && status != StatusCode::TOO_MANY_REQUESTS
            && status != StatusCode::REQUEST_TIMEOUT
        {
            return Err(UploadError::Refused(status));
        }
        if !status.is_success() {
            return Err(failed(format!("the hold answers {status}")));
        }
        match answer.json::<UploadReceipt>() {
            Ok(receipt) if receipt.digest != packed.digest => {
                Err(failed("the hold has received something else".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// Compresses the document beside itself.
fn pack(document: &Path, kind: DocumentKind) -> Result<Packed, ScanError> {
    let failed = || ScanError::workspace("cannot compress a document");
    let path = document.with_extension("json.gz");
    let mut from = File::open(document).map_err(failed())?;
    let to = File::create(&path).map_err(failed())?;
    let mut encoder = GzEncoder::new(io::BufWriter::new(to), Compression::default());
    let mut hasher = DigestHasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).map_err(failed())?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        encoder.write_all(&buffer[..read]).map_err(failed())?;
    }
    let file = encoder
        .finish()
        .and_then(|buffered| buffered.into_inner().map_err(io::IntoInnerError::into_error))
        .map_err(failed())?;
    let bytes = file.metadata().map_err(failed())?.len();
    if bytes > MAX_COMPRESSED_BYTES as u64 {
        return Err(ScanError::ResultTooLarge {
            what: kind.as_str(),
            limit: MAX_COMPRESSED_BYTES,
        });
    }
    Ok(Packed {
        path,
        bytes,
        digest: hasher.finish(),
    })
}
