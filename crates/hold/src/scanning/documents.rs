//! Documents that a scanner uploads: gzip on the way in, never in memory as a whole, and no longer than they may be.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atcr_oci::{Algorithm, Digest};
use atcr_scan_protocol::bounds::{MAX_COMPRESSED_BYTES, MAX_DOCUMENT_BYTES};
use atcr_scan_protocol::{DocumentKind, UploadReceipt};
use aws_lc_rs::digest;
use bytes::Bytes;
use flate2::read::GzDecoder as GzReader;
use flate2::write::GzDecoder;
use futures_util::{Stream, StreamExt as _, stream};
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout_at};

use super::{ScanTableError, Scanning};
use crate::blobs::Source;
use crate::repo_blobs::RepoBlobError;

/// Compressed bytes that are decompressed at once: they become a thousand times as many at most.
const SLICE: usize = 4 * 1024;

/// Bytes of a body in a second on the average, and how long it may take to begin.
const PACE: u32 = 16 * 1024;
const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// The media type of a document that is kept compressed.
const GZIP: &str = "application/gzip";

/// Why a document was not kept.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// No scan with this number runs.
    #[error("no scan with this number waits for documents")]
    UnknownJob,
    /// Longer than it may be.
    #[error("a document has at most 100 MiB, and 32 MiB compressed")]
    TooLarge,
    /// Not gzip, not whole, or not JSON.
    #[error("the document is not a JSON object in gzip")]
    Malformed,
    /// Slower than it may be.
    #[error("the document came too slowly")]
    TooSlow,
    /// The blob was not kept.
    #[error(transparent)]
    Blob(RepoBlobError),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] ScanTableError),
}

impl Scanning {
    /// Keeps a document of the job with this number. A repetition replaces it.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub async fn receive<E: Into<Source>>(
        &self,
        seq: u64,
        kind: DocumentKind,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<UploadReceipt, DocumentError> {
        let inner = &*self.inner;
        if inner.table.trouble(seq).await?.is_none() {
            return Err(DocumentError::UnknownJob);
        }
        // Nobody but the hold reads this one.
        let stays_compressed = kind == DocumentKind::SbomSyft;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let paced = paced(body, inner.options.upload_within, seen.clone());
        let document = decompressed(paced, stays_compressed, seen.clone());
        let media_type = if stays_compressed { GZIP } else { kind.media_type() };
        let check = Box::new(move |file| is_json(file, stays_compressed));
        let kept = inner.blobs.upload_in_turn(media_type, document, check).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let blob = match (kept, seen) {
            (Ok(blob), Seen::Whole(receipt)) => {
                let is_noted = inner.table.note_upload(seq, kind, &blob).await?;
                return is_noted.then_some(receipt).ok_or(DocumentError::UnknownJob);
            }
            (Err(RepoBlobError::Refused), _) => return Err(DocumentError::Malformed),
            (_, Seen::TooSlow) => return Err(DocumentError::TooSlow),
            (_, Seen::TooLarge) => return Err(DocumentError::TooLarge),
            (_, Seen::Malformed) => return Err(DocumentError::Malformed),
            (kept, _) => kept,
        };
        Err(blob.map_or_else(DocumentError::Blob, |_| DocumentError::Malformed))
    }
}

/// What was found in a body.
#[derive(Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    Whole(UploadReceipt),
    TooLarge,
    TooSlow,
    Malformed,
}

#[derive(Debug, thiserror::Error)]
#[error("the document is not taken")]
struct NotTaken;

/// Whether a file is one JSON value, that of an object by its first byte.
fn is_json(file: File, is_compressed: bool) -> bool {
    let read = |bytes: &mut dyn std::io::Read| serde_json::from_reader::<_, IgnoredAny>(bytes).is_ok();
    let mut file = BufReader::new(file);
    if is_compressed {
        read(&mut BufReader::new(GzReader::new(file)))
    } else {
        read(&mut file)
    }
}

/// The body, as long as it comes at its pace and is whole in the time `within`.
fn paced<E: Into<Source>>(
    body: impl Stream<Item = Result<Bytes, E>> + Send,
    within: Duration,
    seen: Arc<Mutex<Seen>>,
) -> impl Stream<Item = Result<Bytes, Source>> + Send {
    let start = Instant::now();
    let state = (Box::pin(body), 0_u32, seen);
    stream::try_unfold(state, move |(mut body, received, seen)| async move {
        let allowed = BEGIN_WITHIN + Duration::from_secs(1).mul_f64(f64::from(received) / f64::from(PACE));
        let Ok(piece) = timeout_at(start + allowed.min(within), body.next()).await else {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::TooSlow;
            return Err(NotTaken.into());
        };
        let Some(piece) = piece.transpose().map_err(Into::into)? else {
            return Ok(None);
        };
        let received = received.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        Ok(Some((piece, (body, received, seen))))
    })
}

struct Decoding<B> {
    body: B,
    input: Bytes,
    compressed: usize,
    decoder: GzDecoder<Vec<u8>>,
    hash: digest::Context,
    size: usize,
    stays_compressed: bool,
    is_over: bool,
    seen: Arc<Mutex<Seen>>,
}

/// The document in `body`, in pieces; or, if it stays compressed, the body itself, after a look into it.
fn decompressed<E: Into<Source>>(
    body: impl Stream<Item = Result<Bytes, E>> + Send,
    stays_compressed: bool,
    seen: Arc<Mutex<Seen>>,
) -> impl Stream<Item = Result<Bytes, Source>> + Send {
    let decoding = Decoding {
        body: Box::pin(body),
        input: Bytes::new(),
        compressed: 0,
        decoder: GzDecoder::new(Vec::new()),
        hash: digest::Context::new(&digest::SHA256),
        size: 0,
        stays_compressed,
        is_over: false,
        seen,
    };
    stream::try_unfold(decoding, async |mut decoding| {
        if decoding.is_over {
            return Ok(None);
        }
        if decoding.input.is_empty() {
            match decoding.body.next().await {
                Some(piece) => decoding.input = piece.map_err(Into::into)?,
                None => {
                    let rest = decoding.finish()?;
                    return Ok(Some((rest, decoding)));
                }
            }
        }
        let slice = decoding.input.split_to(decoding.input.len().min(SLICE));
        let piece = decoding.push(slice)?;
        Ok(Some((piece, decoding)))
    })
}

impl<B> Decoding<B> {
    fn push(&mut self, slice: Bytes) -> Result<Bytes, Source> {
        self.compressed += slice.len();
        if self.compressed > MAX_COMPRESSED_BYTES {
            return Err(self.refuse(Seen::TooLarge));
        }
        if self.decoder.write_all(&slice).is_err() {
            return Err(self.refuse(Seen::Malformed));
        }
        let decoded = self.decoded()?;
        Ok(if self.stays_compressed { slice } else { decoded })
    }

    /// The end of the body: the checksum is right.
    fn finish(&mut self) -> Result<Bytes, Source> {
        self.is_over = true;
        if self.decoder.try_finish().is_err() {
            return Err(self.refuse(Seen::Malformed));
        }
        let rest = self.decoded()?;
        let hash = self.hash.clone().finish();
        let digest = Digest::from_hash_bytes(Algorithm::Sha256, hash.as_ref());
        let Some(digest) = digest.filter(|_| self.size > 0) else {
            return Err(self.refuse(Seen::Malformed));
        };
        let size = self.size as u64;
        self.see(Seen::Whole(UploadReceipt { digest, size }));
        Ok(if self.stays_compressed { Bytes::new() } else { rest })
    }

    fn decoded(&mut self) -> Result<Bytes, Source> {
        let decoded = Bytes::from(std::mem::take(self.decoder.get_mut()));
        if self.size == 0 && !decoded.is_empty() && !decoded.starts_with(b"{") {
            return Err(self.refuse(Seen::Malformed));
        }
        self.size += decoded.len();
        if self.size > MAX_DOCUMENT_BYTES {
            return Err(self.refuse(Seen::TooLarge));
        }
        self.hash.update(&decoded);
        Ok(decoded)
    }

    fn refuse(&self, why: Seen) -> Source {
        self.see(why);
        NotTaken.into()
    }

    fn see(&self, seen: Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// A body of `pieces` pieces of `bytes` bytes, each of which takes `pause` to come. Whether it comes to its end, and after how long.
    async fn send(pieces: usize, bytes: usize, pause: Duration, within: Duration) -> (bool, Duration) {
        let body = stream::unfold(0, move |sent| async move {
            if sent == pieces {
                return None;
            }
            sleep(pause).await;
            let piece = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; bytes]));
            Some((piece, sent + 1))
        });
        let seen = Arc::new(Mutex::new(Seen::default()));
        let start = Instant::now();
        let mut paced = std::pin::pin!(paced(body, within, Arc::clone(&seen)));
        let is_whole = loop {
            match paced.next().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        let is_slow = matches!(*seen.lock().unwrap(), Seen::TooSlow);
        assert_ne!(is_whole, is_slow);
        (is_whole, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_comes_at_its_pace_and_in_its_time_or_is_not_waited_for() {
        const SECOND: Duration = Duration::from_secs(1);
        let within = Duration::from_mins(10);
        let pace = usize::try_from(PACE).unwrap();
        // As fast as it has to be, for long.
        assert!(send(500, pace, SECOND, within).await.0);
        // It may take a while to begin.
        assert!(send(1, 1, BEGIN_WITHIN.saturating_sub(SECOND), within).await.0);
        let (is_whole, after) = send(usize::MAX, 1, SECOND, within).await;
        assert!(
            !is_whole && after < 2 * BEGIN_WITHIN,
            "a byte a second: {after:?}"
        );
        let (is_whole, after) = send(usize::MAX, pace, SECOND, within).await;
        assert!(!is_whole && after <= within, "without end: {after:?}");
    }
}
