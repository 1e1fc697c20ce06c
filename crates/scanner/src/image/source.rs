//! Port: where an image comes from.

use async_trait::async_trait;
use atcr_oci::{Digest, Manifest};
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::error::ScanError;

/// Bytes of a blob as they arrive, unchecked.
pub type Pieces = BoxStream<'static, Result<Bytes, ScanError>>;

/// Where one image comes from.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// The manifest with `digest`, whose bytes hash to it.
    ///
    /// # Errors
    /// `Fetch`, `DigestMismatch`.
    async fn manifest(&self, digest: &Digest) -> Result<Manifest, ScanError>;

    /// Opens a blob; whoever reads it checks it.
    ///
    /// # Errors
    /// `Fetch`.
    async fn open(&self, digest: &Digest) -> Result<Pieces, ScanError>;
}
