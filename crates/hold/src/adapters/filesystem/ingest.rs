//! One part from a stream to its place in the upload's file.
//!
//! Frames are gathered into a piece while the piece before it is hashed on one blocking thread and written on another: two
//! pieces per upload, whatever its size.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::{Pin, pin};
use std::sync::Arc;

use atcr_oci::DigestHasher;
use atcr_server::pieces::{Gather, Piece};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use thiserror::Error;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::failed;
use super::upload::{Claim, Held, PartRefusal, Uploads};
use crate::blobs::{Source, StoreError};

/// Bytes handed to blocking threads at once.
const PIECE_BYTES: usize = 512 * 1024;
const ACTION: &str = "write a part";

/// Why a part was not stored. The upload stands where it stood before the part.
#[derive(Debug, Error)]
pub enum PartError {
    /// It is not this part's turn.
    #[error("part {sent} is not the next one; send part {expected}")]
    OutOfOrder {
        /// The part that came.
        sent: u32,
        /// The part whose turn it is.
        expected: usize,
    },
    /// The upload takes no more parts.
    #[error("the upload is being completed")]
    Sealed,
    /// A later request sends the part.
    #[error("the same part is being sent again, or the upload has ended")]
    Superseded,
    /// The sender did not finish.
    #[error("the body broke off")]
    Body(#[source] Source),
    /// The disk failed, or there is no such upload.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores `body` as part `part_number`, and returns the part's tag.
///
/// # Cancel safety
/// Dropped at any point, the upload stands where it stood before the part; what was written of it is overwritten later.
pub(super) async fn receive<E: Into<Source>>(
    uploads: &Uploads,
    upload: Uuid,
    part_number: u32,
    body: impl Stream<Item = Result<Bytes, E>> + Send,
) -> Result<String, PartError> {
    let mut body = pin!(body);
    let claim = uploads.claim(upload, part_number);
    let held = tokio::select! {
        biased;
        () = claim.superseded() => return Err(PartError::Superseded),
        held = uploads.hold(upload, &claim) => held?,
    };
    let mut pipeline = Pipeline::Idle(PartWriter::begin(held, part_number).await?);
    let mut gather = Gather::default();
    while let Some(data) = next_data(&mut body, &claim).await? {
        gather.push(data);
        if gather.len() >= PIECE_BYTES {
            pipeline = pipeline.take_in(gather.take()).await?;
        }
    }
    pipeline
        .take_in(gather.take())
        .await?
        .idle()
        .await?
        .finish()
        .await
}

async fn next_data<E: Into<Source>>(
    body: &mut Pin<&mut (impl Stream<Item = Result<Bytes, E>> + Send)>,
    claim: &Claim,
) -> Result<Option<Bytes>, PartError> {
    let data = tokio::select! {
        biased;
        () = claim.superseded() => return Err(PartError::Superseded),
        data = body.next() => data,
    };
    data.transpose().map_err(|error| PartError::Body(error.into()))
}

/// The writer, or its work on a piece under way.
enum Pipeline {
    Idle(Box<PartWriter>),
    Busy {
        writing: JoinHandle<io::Result<Held>>,
        hashing: JoinHandle<io::Result<DigestHasher>>,
        unnoted: u64,
    },
}

impl Pipeline {
    /// Begins to hash and write `piece` when the one before it is done.
    async fn take_in(self, piece: Piece) -> Result<Self, StoreError> {
        let mut writer = self.idle().await?;
        if piece.is_empty() {
            return Ok(Self::Idle(writer));
        }
        writer.note_written().await?;
        let PartWriter { held, mut hasher, .. } = *writer;
        let (piece, at) = (Arc::new(piece), hasher.len());
        let unnoted = piece.len() as u64;
        let to_hash = piece.clone();
        Ok(Self::Busy {
            writing: tokio::task::spawn_blocking(move || {
                write_at(&held, &piece, at)?;
                Ok(held)
            }),
            hashing: tokio::task::spawn_blocking(move || {
                to_hash.frames().for_each(|frame| hasher.update(frame));
                Ok(hasher)
            }),
            unnoted,
        })
    }

    async fn idle(self) -> Result<Box<PartWriter>, StoreError> {
        match self {
            Self::Idle(writer) => Ok(writer),
            Self::Busy {
                writing,
                hashing,
                unnoted,
            } => Ok(Box::new(PartWriter {
                held: finished(writing).await?,
                hasher: finished(hashing).await?,
                unnoted,
            })),
        }
    }
}

/// Blocks.
fn write_at(held: &Held, piece: &Piece, mut at: u64) -> io::Result<()> {
    for frame in piece.frames() {
        held.file.write_all_at(frame, at)?;
        at += frame.len() as u64;
    }
    Ok(())
}

/// Writes one part. Holds the upload's lock, wherever it is moved: a write that outlives its request cannot touch what a
/// later request writes.
struct PartWriter {
    held: Held,
    /// Of everything up to where the next byte goes.
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

    async fn note_written(&mut self) -> Result<(), StoreError> {
        let len = std::mem::take(&mut self.unnoted);
        if let Err(error) = self.held.note_written(len).await {
            // The kernel may have dropped bytes of finished parts and will not say so again.
            self.held.destroy().map_err(|error| failed(ACTION, error))?;
            return Err(failed(ACTION, error));
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<String, PartError> {
        self.note_written().await?;
        let Self { mut held, hasher, .. } = self;
        let task = tokio::task::spawn_blocking(move || held.finish_part(hasher));
        Ok(finished(task).await?)
    }
}

async fn finished<T>(task: JoinHandle<io::Result<T>>) -> Result<T, StoreError> {
    match task.await {
        Ok(outcome) => outcome.map_err(|error| failed(ACTION, error)),
        Err(panicked) => Err(StoreError::unavailable(ACTION, panicked)),
    }
}
