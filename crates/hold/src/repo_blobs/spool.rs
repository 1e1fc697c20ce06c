//! An upload on its way: its bytes in a file, hashed as they come.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;

use atcr_atproto::data_model::{RAW, cid_of_sha256};
use atcr_atproto::syntax::Cid;
use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::{MAX_BYTES, RepoBlobError};
use crate::blobs::Source;

/// A whole upload. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Spool {
    file: SpoolFile,
    pub(super) cid: Cid,
    pub(super) size: u64,
}

#[derive(Debug)]
struct SpoolFile(PathBuf);

impl Drop for SpoolFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Spool {
    /// Takes in the whole body.
    pub(super) async fn receive<E: Into<Source>>(
        folder: &Path,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Self, RepoBlobError> {
        let file = SpoolFile(folder.join(Uuid::new_v4().to_string()));
        let mut out = File::create_new(&file.0).await.map_err(RepoBlobError::Spool)?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut size = 0_u64;
        let mut body = pin!(body);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| RepoBlobError::Body(error.into()))?;
            size = size.saturating_add(piece.len() as u64);
            if size > MAX_BYTES {
                return Err(RepoBlobError::TooLarge);
            }
            hash.update(&piece);
            out.write_all(&piece).await.map_err(RepoBlobError::Spool)?;
        }
        out.flush().await.map_err(RepoBlobError::Spool)?;
        let hash: [u8; 32] = hash
            .finish()
            .as_ref()
            .try_into()
            .map_err(|_| RepoBlobError::Spool(io::ErrorKind::InvalidData.into()))?;
        Ok(Self {
            file,
            cid: cid_of_sha256(RAW, &hash),
            size,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.0
    }
}

/// Makes the folder, and removes what an earlier process left in it.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}
