//! The body of a request as pieces worth working on. A client that stops sending is given up after the idle time.

use std::sync::Arc;
use std::time::Duration;

use atcr_server::pieces::{Gather, Piece};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::blob::ports::ByteStream;
use crate::error::RegistryError;

/// Frames are collected until a piece has this many bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// How long a refused body is still read.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// Nothing arrived for the idle time.
    #[error("the client sent nothing for {} seconds", idle.as_secs())]
    Stalled {
        /// How long was waited.
        idle: Duration,
    },
    /// The connection broke or the framing was wrong.
    #[error("the request body ended early")]
    Broken,
}

impl From<BodyFault> for RegistryError {
    fn from(fault: BodyFault) -> Self {
        Self::BodyInterrupted {
            source: Arc::new(fault),
        }
    }
}

/// Reads a body in pieces of at least 256 KiB, the last one excepted.
pub struct ChunkReader {
    body: ByteStream,
    idle: Duration,
    received: u64,
    ended: bool,
}

impl ChunkReader {
    /// Reads `body`, giving up when nothing arrives for `idle`.
    #[must_use]
    pub fn new(body: ByteStream, idle: Duration) -> Self {
        Self {
            body,
            idle,
            received: 0,
            ended: false,
        }
    }

    /// Bytes handed out so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next piece, never empty; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Piece>, BodyFault> {
        let mut gather = Gather::default();
        while !self.ended && gather.len() < PIECE_BYTES {
            match self.frame().await.inspect_err(|_| self.ended = true)? {
                Some(frame) => gather.push(frame),
                None => self.ended = true,
            }
        }
        self.received += gather.len() as u64;
        Ok((!gather.is_empty()).then(|| gather.take()))
    }

    /// Reads and drops up to `limit` bytes within [`DRAIN_TIME`], so that a client that is still sending gets to see the answer.
    pub async fn drain(&mut self, limit: u64) {
        let drained = async {
            let mut dropped = 0;
            while dropped < limit && !self.ended {
                match self.frame().await {
                    Ok(Some(frame)) => dropped += frame.len() as u64,
                    Ok(None) | Err(_) => self.ended = true,
                }
            }
        };
        // Running out of time is as good as having read enough.
        let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, BodyFault> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.next())
                .await
                .map_err(|_| BodyFault::Stalled { idle: self.idle })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) if frame.is_empty() => {}
                Some(Ok(frame)) => return Ok(Some(frame)),
                Some(Err(_)) => return Err(BodyFault::Broken),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn reader(frames: Vec<io::Result<Bytes>>) -> ChunkReader {
        ChunkReader::new(
            Box::pin(futures_util::stream::iter(frames)),
            Duration::from_secs(5),
        )
    }

    #[tokio::test]
    async fn small_frames_become_large_pieces_and_nothing_is_lost() {
        let frames = (0..100_u8).map(|n| Ok(Bytes::from(vec![n; 10_000]))).collect();
        let mut reader = reader(frames);
        let mut all = Vec::<u8>::new();
        let mut pieces = 0;
        while let Some(piece) = reader.next().await.unwrap() {
            all.extend(piece.frames().flatten());
            pieces += 1;
        }
        let sent: Vec<u8> = (0..100_u8).flat_map(|n| vec![n; 10_000]).collect();
        assert_eq!((all == sent, pieces, reader.received()), (true, 4, 1_000_000));
    }

    #[tokio::test]
    async fn a_broken_body_is_an_error_not_an_end() {
        let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
        let mut reader = reader(vec![Ok(Bytes::from_static(b"some")), broken]);
        assert!(matches!(reader.next().await, Err(BodyFault::Broken)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_given_up() {
        let mut reader = ChunkReader::new(Box::pin(futures_util::stream::pending()), Duration::from_mins(1));
        assert!(matches!(reader.next().await, Err(BodyFault::Stalled { .. })));
    }

    #[tokio::test]
    async fn an_empty_body_has_no_pieces() {
        let mut reader = reader(vec![Ok(Bytes::new())]);
        assert!(reader.next().await.unwrap().is_none());
    }
}
