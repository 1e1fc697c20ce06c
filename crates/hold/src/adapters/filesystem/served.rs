//! What the holder of a signed URL may do: send one part, or read one object.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use atcr_oci::Digest;
use bytes::Bytes;
use futures_util::Stream;
use thiserror::Error;
use uuid::Uuid;

use super::ingest::{self, PartError};
use super::signed_url::{BLOBS, PARTS, UrlSignature};
use super::{FilesystemStore, is_absent, read};
use crate::blobs::{DownloadMethod, MAX_PART_NUMBER, ObjectKey, Source};

/// Why a URL is not served.
#[derive(Debug, Error)]
pub enum SignedUrlError {
    /// Not signed for this, or no longer.
    #[error("the URL is not signed for this, or has expired")]
    Forbidden,
    /// No such object.
    #[error("there is no such object")]
    NotFound,
    /// Part numbers go from 1 to 10,000.
    #[error("part numbers go from 1 to 10000")]
    BadPartNumber,
    /// The part was not stored.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The disk failed.
    #[error("an object could not be read")]
    Disk(#[source] io::Error),
}

/// An object that is there, open.
#[derive(Debug)]
pub struct OpenObject {
    key: ObjectKey,
    file: Arc<File>,
    size: u64,
}

impl OpenObject {
    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest, for a blob.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.key.blob_digest()
    }

    /// Names the content: no object is ever overwritten, so that its key does.
    #[must_use]
    pub fn version(&self) -> String {
        match self.key.blob_digest() {
            Some(digest) => digest.hex().to_owned(),
            None => data_encoding::HEXLOWER.encode(self.key.as_str().as_bytes()),
        }
    }

    /// The bytes in `range`, in large pieces.
    pub fn bytes(&self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        read::stream(self.file.clone(), range)
    }
}

impl FilesystemStore {
    /// Stores `body` as part `part` of the upload `upload`, both as the URL spells them, and returns the part's tag.
    ///
    /// # Errors
    /// `Forbidden`, `BadPartNumber`, `Part`.
    ///
    /// # Cancel safety
    /// Dropped at any point, the upload stands where it stood before the part.
    pub async fn receive_part<E: Into<Source>>(
        &self,
        upload: &str,
        part: &str,
        signature: &UrlSignature,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<String, SignedUrlError> {
        let shared = &*self.shared;
        let path = format!("{PARTS}{upload}/{part}");
        if !shared.signer.allows("PUT", &path, signature, shared.clock.now()) {
            return Err(SignedUrlError::Forbidden);
        }
        let upload = Uuid::try_parse(upload).map_err(|_| SignedUrlError::Forbidden)?;
        let part_number = part
            .parse()
            .ok()
            .filter(|number| (1..=MAX_PART_NUMBER).contains(number))
            .ok_or(SignedUrlError::BadPartNumber)?;
        Ok(ingest::receive(&shared.uploads, upload, part_number, body).await?)
    }

    /// Opens the object `key`, as the URL spells it.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Disk`.
    pub async fn open_object(
        &self,
        method: DownloadMethod,
        key: &str,
        signature: &UrlSignature,
    ) -> Result<OpenObject, SignedUrlError> {
        let shared = &*self.shared;
        let path = format!("{BLOBS}{key}");
        if !shared
            .signer
            .allows(method.as_str(), &path, signature, shared.clock.now())
        {
            return Err(SignedUrlError::Forbidden);
        }
        let key: ObjectKey = key.parse().map_err(|_| SignedUrlError::Forbidden)?;
        let path = shared.path(&key);
        let opened = tokio::task::spawn_blocking(move || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        match opened.await.map_err(io::Error::other).and_then(|outcome| outcome) {
            Ok((file, metadata)) if metadata.is_file() => Ok(OpenObject {
                key,
                file: Arc::new(file),
                size: metadata.len(),
            }),
            Ok(_) => Err(SignedUrlError::NotFound),
            Err(error) if is_absent(&error) => Err(SignedUrlError::NotFound),
            Err(error) => Err(SignedUrlError::Disk(error)),
        }
    }
}
