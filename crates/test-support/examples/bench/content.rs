//! Layers that are made as they are sent: no file, no memory, and known digests.

use bytes::Bytes;
use futures_util::{Stream, stream};
use sha2::{Digest as _, Sha256};

/// The size of a piece.
const PIECE: u64 = 256 * 1024;

/// A layer of `size` bytes, told apart by `seed`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    seed: u64,
    size: u64,
}

impl Layer {
    pub(crate) fn new(seed: u64, size: u64) -> Self {
        Self { seed, size }
    }

    pub(crate) fn size(self) -> u64 {
        self.size
    }

    /// Piece `index`: its number, so that no two pieces are equal, and noise that all of them share, so that making a piece takes
    /// nothing away from what is measured.
    fn piece(self, index: u64, noise: &Bytes) -> [Bytes; 2] {
        let length = usize::try_from(PIECE.min(self.size - index * PIECE)).unwrap_or(noise.len());
        let mark = (index ^ (self.seed << 40)).to_le_bytes();
        let marked = mark.len().min(length);
        [
            Bytes::copy_from_slice(&mark[..marked]),
            noise.slice(marked..length),
        ]
    }

    /// Pseudo-random, so that nothing on the way can compress it.
    fn noise(self) -> Bytes {
        let mut state = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut noise = Vec::new();
        while (noise.len() as u64) < PIECE {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        noise.into()
    }

    fn pieces(self) -> impl Iterator<Item = Bytes> {
        let noise = self.noise();
        (0..self.size.div_ceil(PIECE)).flat_map(move |index| self.piece(index, &noise))
    }

    /// `sha256:<hex>`.
    pub(crate) fn digest(self) -> String {
        let mut hasher = Sha256::new();
        for piece in self.pieces() {
            hasher.update(&piece);
        }
        format!("sha256:{}", data_encoding::HEXLOWER.encode(&hasher.finalize()))
    }

    /// The bytes, made as they are asked for.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        stream::iter(self.pieces().map(Ok))
    }

    /// A part of the layer, whole pieces from `from`, at most `length` bytes.
    pub(crate) fn part(self, from: u64, length: u64) -> Vec<u8> {
        let noise = self.noise();
        let first = from / PIECE;
        let count = length.min(self.size - from).div_ceil(PIECE);
        (first..first + count)
            .flat_map(|index| self.piece(index, &noise))
            .flatten()
            .collect()
    }
}
