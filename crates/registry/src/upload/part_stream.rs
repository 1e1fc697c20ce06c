//! Hands the bytes of a client to the request that carries them on.

use std::io;

use std::vec::IntoIter;

use atcr_server::pieces::Piece;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::blob::ports::ByteStream;

/// Pieces between reader and sender. With one waiting, one being read and hashed and one being written both sides are busy; more
/// would only be memory, of which sixteen pushes at once have little.
const PIECES: usize = 1;

enum Fed {
    Piece(Piece),
    End,
}

/// The giving end.
pub(super) struct Feed {
    pieces: mpsc::Sender<Fed>,
}

/// The other end's place in what it was given.
struct Taken {
    pieces: mpsc::Receiver<Fed>,
    frames: IntoIter<Bytes>,
}

/// The taking end is gone.
#[derive(Debug)]
pub(super) struct Closed;

/// A bounded connection between the body that comes and the body that goes. Its stream ends cleanly only after
/// [`Feed::finish`]; a feed that is merely dropped is an error there, so that half a body is not taken for a whole one.
pub(super) fn feed() -> (Feed, ByteStream) {
    let (pieces, taken) = mpsc::channel(PIECES);
    let taken = Taken {
        pieces: taken,
        frames: Piece::default().into_iter(),
    };
    let bytes = stream::unfold(Some(taken), |taken| async move {
        let mut taken: Taken = taken?;
        loop {
            if let Some(frame) = taken.frames.next() {
                return Some((Ok(frame), Some(taken)));
            }
            match taken.pieces.recv().await {
                Some(Fed::Piece(piece)) => taken.frames = piece.into_iter(),
                Some(Fed::End) => return None,
                None => return Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None)),
            }
        }
    });
    (Feed { pieces }, Box::pin(bytes))
}

impl Feed {
    /// Passes `piece` on, waiting while the other end is behind.
    pub(super) async fn give(&self, piece: Piece) -> Result<(), Closed> {
        self.pieces.send(Fed::Piece(piece)).await.map_err(|_| Closed)
    }

    /// Says that this was all.
    pub(super) async fn finish(self) -> Result<(), Closed> {
        self.pieces.send(Fed::End).await.map_err(|_| Closed)
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
            giver.give(Bytes::from_static(b"all").into()).await.unwrap();
            giver.finish().await.unwrap();
        };
        let ((), pieces) = tokio::join!(give, taken.collect::<Vec<_>>());
        assert!(pieces.len() == 1 && pieces[0].is_ok());

        let (giver, taken) = feed();
        giver.give(Bytes::from_static(b"half").into()).await.unwrap();
        drop(giver);
        let pieces: Vec<_> = taken.collect().await;
        assert!(pieces.len() == 2 && pieces[1].is_err());
    }
}
