//! A file as a stream of large pieces, read ahead by one.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use tokio::task::JoinHandle;

/// Large enough that handing a piece between threads does not show, small enough that a slow client costs little.
const PIECE: u64 = 512 * 1024;

struct Reading {
    file: Arc<File>,
    /// What has not been asked of the disk yet.
    rest: Range<u64>,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

/// The bytes of `file` in `range`. At most one piece is read before it is wanted. A file that is shorter is an error.
pub(super) fn stream(file: Arc<File>, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let mut reading = Reading {
        file,
        rest: range,
        ahead: None,
    };
    reading.read_ahead();
    stream::try_unfold(reading, |mut reading| async move {
        let Some(ahead) = reading.ahead.take() else {
            return Ok(None);
        };
        let piece = ahead.await.map_err(io::Error::other)??;
        reading.read_ahead();
        Ok(Some((piece, reading)))
    })
}

impl Reading {
    fn read_ahead(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let start = self.rest.start;
        let len = (self.rest.end - start).min(PIECE);
        self.rest.start += len;
        let file = self.file.clone();
        self.ahead = Some(tokio::task::spawn_blocking(move || {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            let mut piece = vec![0; len];
            file.read_exact_at(&mut piece, start)?;
            Ok(piece.into())
        }));
    }
}
