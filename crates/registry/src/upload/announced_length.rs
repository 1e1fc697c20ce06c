//! What a request says of its body, by `Content-Range` and `Content-Length`, compared with the session and with what came.

use super::chunks::ChunkReader;
use super::session::UploadSession;
use crate::error::{BlobError, RegistryError, UploadError};

/// Checks what a body says of itself before it is read.
pub(super) fn check_range(
    session: &UploadSession,
    len: Option<u64>,
    range: Option<(u64, u64)>,
) -> Result<(), RegistryError> {
    let Some((first, last)) = range else {
        return Ok(());
    };
    if first != session.offset {
        return Err(RegistryError::Upload(UploadError::ChunkOutOfOrder {
            session: session.id.clone(),
            given: first,
            received: session.offset,
        }));
    }
    let promised = range_len(first, last);
    match len {
        Some(len) if len != promised => Err(RegistryError::Blob(BlobError::SizeInvalid {
            reason: format!("Content-Range {first}-{last} has {promised} bytes, Content-Length says {len}"),
        })),
        _ => Ok(()),
    }
}

/// Checks that a body was as long as it said.
pub(super) fn check_received(
    reader: &ChunkReader,
    len: Option<u64>,
    range: Option<(u64, u64)>,
) -> Result<(), RegistryError> {
    let received = reader.received();
    match len.or(range.map(|(first, last)| range_len(first, last))) {
        Some(promised) if promised != received => Err(RegistryError::Blob(BlobError::SizeInvalid {
            reason: format!("{promised} bytes were announced, {received} came"),
        })),
        _ => Ok(()),
    }
}

fn range_len(first: u64, last: u64) -> u64 {
    last.saturating_add(1).saturating_sub(first)
}
