//! Hands the bytes of a client to the request that carries them on.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::registry::blob::ports::ByteStream;

/// Pieces between reader and sender. With one waiting, one being read and hashed and one being written both sides are busy; more
/// would only be memory, of which sixteen pushes at once have little.
const PIECES: usize = 1;

enum Piece {
    Bytes(Bytes),
    End,
}

/// The giving end.
pub(super) struct Feed {
    pieces: mpsc::Sender<Piece>,
}

/// The taking end is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// A bounded connection between the body that comes and the body that goes. Its stream ends cleanly only after
/// [`Feed::finish`]; a feed that is merely dropped is an error there, so that nobody takes half a body for a whole one.
pub(super) fn feed() -> (Feed, ByteStream) {
    let (pieces, taken) = mpsc::channel(PIECES);
    let bytes = stream::unfold(Some(taken), |taken| async move {
        let mut taken: mpsc::Receiver<Piece> = taken?;
        match taken.recv().await {
            Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(taken))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None)),
        }
    });
    (Feed { pieces }, Box::pin(bytes))
}

impl Feed {
    /// Passes `bytes` on, waiting while the other end is behind.
    pub(super) async fn give(&self, bytes: Bytes) -> Result<(), Closed> {
        self.pieces.send(Piece::Bytes(bytes)).await.map_err(|_| Closed)
    }

    /// Says that this was all.
    pub(super) async fn finish(self) -> Result<(), Closed> {
        self.pieces.send(Piece::End).await.map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn only_a_finished_feed_ends_cleanly() {
        let (giver, taken) = feed();
        let give = async {
            giver.give(Bytes::from_static(b"all")).await.unwrap();
            giver.finish().await.unwrap();
        };
        let ((), pieces) = tokio::join!(give, taken.collect::<Vec<_>>());
        assert!(pieces.len() == 1 && pieces[0].is_ok());

        let (giver, taken) = feed();
        giver.give(Bytes::from_static(b"half")).await.unwrap();
        drop(giver);
        let pieces: Vec<_> = taken.collect().await;
        assert!(pieces.len() == 2 && pieces[1].is_err());
    }
}
