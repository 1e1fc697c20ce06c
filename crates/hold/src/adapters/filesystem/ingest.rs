//! One part from a request's body to its place in the upload's file.
//!
//! Small frames are gathered into one large piece while the piece before it is hashed and written on a blocking thread: two
//! pieces per upload, whatever its size.

use std::io;
use std::os::unix::fs::FileExt as _;

use atcr_oci::DigestHasher;
use axum::body::Body;
use http_body_util::BodyExt as _;
use thiserror::Error;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::failed;
use super::upload::{Claim, Held, PartRefusal, Uploads};
use crate::blobs::StoreError;

/// Bytes handed to a blocking thread at once.
const PIECE: usize = 512 * 1024;
const ACTION: &str = "write a part";

/// Why a part was not stored. The upload stands where it stood before the part.
#[derive(Debug, Error)]
pub(super) enum PartError {
    #[error("part {sent} is not the next one; send part {expected}")]
    OutOfOrder { sent: u32, expected: usize },
    #[error("the upload is being completed")]
    Sealed,
    #[error("the same part is being sent again, or the upload has ended")]
    Superseded,
    #[error("the body broke off")]
    Body(#[source] axum::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores `body` as part `part_number`, and returns the part's tag.
///
/// # Cancel safety
/// Dropped at any point, the upload stands where it stood before the part; what was written of it is overwritten later.
pub(super) async fn receive(
    uploads: &Uploads,
    upload: Uuid,
    part_number: u32,
    mut body: Body,
) -> Result<String, PartError> {
    let claim = uploads.claim(upload, part_number);
    let held = tokio::select! {
        biased;
        () = claim.superseded() => return Err(PartError::Superseded),
        held = uploads.hold(upload, &claim) => held?,
    };
    let mut pipeline = Pipeline::Idle(PartWriter::begin(held, part_number).await?, Vec::new());
    let mut gathered = Vec::new();
    while let Some(mut data) = next_data(&mut body, &claim).await? {
        while !data.is_empty() {
            let room = PIECE - gathered.len();
            gathered.extend_from_slice(&data.split_to(room.min(data.len())));
            if gathered.len() == PIECE {
                pipeline = pipeline.write(&mut gathered).await?;
            }
        }
    }
    let (writer, _) = pipeline.idle().await?;
    writer.finish(gathered).await
}

async fn next_data(body: &mut Body, claim: &Claim) -> Result<Option<bytes::Bytes>, PartError> {
    loop {
        let frame = tokio::select! {
            biased;
            () = claim.superseded() => return Err(PartError::Superseded),
            frame = body.frame() => frame,
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(PartError::Body(error)),
            // Trailers say nothing about the content.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The writer and the buffer it has finished with, or its work under way.
enum Pipeline {
    Idle(Box<PartWriter>, Vec<u8>),
    Busy(JoinHandle<io::Result<(Box<PartWriter>, Vec<u8>)>>),
}

impl Pipeline {
    /// Begins to write `gathered`, and leaves an empty buffer in its place.
    async fn write(self, gathered: &mut Vec<u8>) -> Result<Self, StoreError> {
        let (mut writer, spare) = self.idle().await?;
        writer.note_written().await?;
        let mut full = std::mem::replace(gathered, spare);
        gathered.reserve_exact(PIECE);
        Ok(Self::Busy(tokio::task::spawn_blocking(move || {
            writer.write(&full)?;
            full.clear();
            Ok((writer, full))
        })))
    }

    async fn idle(self) -> Result<(Box<PartWriter>, Vec<u8>), StoreError> {
        match self {
            Self::Idle(writer, spare) => Ok((writer, spare)),
            Self::Busy(task) => finished(task).await,
        }
    }
}

/// Writes one part. Holds the upload's lock, wherever it is moved: a write that outlives its request cannot touch what a
/// later request writes.
struct PartWriter {
    held: Held,
    hasher: DigestHasher,
    unnoted: u64,
}

impl PartWriter {
    async fn begin(mut held: Held, part_number: u32) -> Result<Box<Self>, PartError> {
        let begun = tokio::task::spawn_blocking(move || {
            let hasher = held.begin_part(part_number)?;
            Ok((held, hasher))
        });
        match finished(begun).await? {
            (held, Ok(hasher)) => Ok(Box::new(Self {
                held,
                hasher,
                unnoted: 0,
            })),
            (_, Err(PartRefusal::OutOfOrder { sent, expected })) => {
                Err(PartError::OutOfOrder { sent, expected })
            }
            (_, Err(PartRefusal::Sealed)) => Err(PartError::Sealed),
        }
    }

    /// Blocks.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.held.file.write_all_at(bytes, self.hasher.len())?;
        self.hasher.update(bytes);
        self.unnoted += bytes.len() as u64;
        Ok(())
    }

    async fn note_written(&mut self) -> Result<(), StoreError> {
        let len = std::mem::take(&mut self.unnoted);
        if let Err(error) = self.held.note_written(len).await {
            // The kernel may have dropped bytes of finished parts and will not say so again.
            self.held.destroy().map_err(|error| failed(ACTION, error))?;
            return Err(failed(ACTION, error));
        }
        Ok(())
    }

    async fn finish(mut self, rest: Vec<u8>) -> Result<String, PartError> {
        self.note_written().await?;
        let task = tokio::task::spawn_blocking(move || {
            self.write(&rest)?;
            self.held.finish_part(self.hasher)
        });
        Ok(finished(task).await?)
    }
}

async fn finished<T>(task: JoinHandle<io::Result<T>>) -> Result<T, StoreError> {
    match task.await {
        Ok(outcome) => outcome.map_err(|error| failed(ACTION, error)),
        Err(panicked) => Err(StoreError::unavailable(ACTION, panicked)),
    }
}
