//! Bodies in pieces large enough to process efficiently.
//!
//! The listener delivers a body in frames of up to some 60 KiB, and a client may make them as small as it likes. Hashing, writing
//! and handing bytes from task to task cost less in large pieces; [`Gather`] collects frames without copying those that are
//! large already.

use bytes::{Bytes, BytesMut};

/// Smaller frames are copied together: each keeps alive the whole buffer that it was read into.
const SMALL_FRAME_BYTES: usize = 16 * 1024;

/// Collects frames until they make a piece.
#[derive(Debug, Default)]
pub struct Gather {
    frames: Vec<Bytes>,
    small: BytesMut,
    len: usize,
}

impl Gather {
    /// Adds the next bytes.
    pub fn push(&mut self, frame: Bytes) {
        self.len += frame.len();
        if frame.len() < SMALL_FRAME_BYTES {
            self.small.extend_from_slice(&frame);
        } else {
            self.close_small();
            self.frames.push(frame);
        }
    }

    /// Bytes collected since the last piece.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns everything that was collected and starts again empty.
    pub fn take(&mut self) -> Piece {
        self.close_small();
        Piece {
            frames: std::mem::take(&mut self.frames),
            len: std::mem::take(&mut self.len),
        }
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.frames.push(self.small.split().freeze());
        }
    }
}

/// Bytes that follow each other, in frames none of which is empty.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    frames: Vec<Bytes>,
    len: usize,
}

impl Piece {
    /// Length of all frames in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes in order.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(AsRef::as_ref)
    }

    /// Takes the first `len` bytes out, all of them if there are fewer.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Self {
        if len >= self.len {
            return std::mem::take(self);
        }
        let mut taken = Self::default();
        let mut rest = Self::default();
        for mut frame in std::mem::take(&mut self.frames) {
            let room = len - taken.len;
            if room > 0 {
                taken.push(frame.split_to(room.min(frame.len())));
            }
            rest.push(frame);
        }
        *self = rest;
        taken
    }

    fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.len += frame.len();
            self.frames.push(frame);
        }
    }
}

impl IntoIterator for Piece {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.frames.into_iter()
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        let mut piece = Self::default();
        piece.push(bytes);
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(piece: &Piece) -> Vec<u8> {
        piece.frames().flatten().copied().collect()
    }

    #[test]
    fn small_frames_are_joined_and_large_ones_are_kept_as_they_are() {
        let large = Bytes::from(vec![9; SMALL_FRAME_BYTES]);
        let mut gather = Gather::default();
        for frame in [
            Bytes::from_static(b"a"),
            Bytes::from_static(b"bc"),
            large.clone(),
            Bytes::new(),
        ] {
            gather.push(frame);
        }
        gather.push(Bytes::from_static(b"d"));
        assert_eq!(gather.len(), SMALL_FRAME_BYTES + 4);
        let piece = gather.take();
        assert!(gather.is_empty());
        let frames: Vec<Bytes> = piece.into_iter().collect();
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[0], "abc");
        assert_eq!(frames[1].as_ptr(), large.as_ptr());
        assert_eq!(frames[2], "d");
    }

    #[test]
    fn a_million_frames_of_one_byte_become_one() {
        let mut gather = Gather::default();
        for _ in 0..1_000_000 {
            gather.push(Bytes::from_static(b"x"));
        }
        assert_eq!(gather.take().into_iter().count(), 1);
    }

    #[test]
    fn a_piece_is_split_within_and_between_frames() {
        let whole: Vec<u8> = (0..60_u8).collect();
        for at in 0..=61 {
            let mut piece = Piece::default();
            for frame in whole.chunks(20) {
                piece.push(Bytes::copy_from_slice(frame));
            }
            let first = piece.split_to(at);
            assert_eq!((first.len(), piece.len()), (at.min(60), 60 - at.min(60)));
            assert_eq!([bytes_of(&first), bytes_of(&piece)].concat(), whole);
            assert!(
                first
                    .frames()
                    .chain(piece.frames())
                    .all(|frame| !frame.is_empty())
            );
        }
    }
}
