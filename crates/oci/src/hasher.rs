//! A digest computed piece by piece, whose progress can be put away and taken up again, also after a restart.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::{Algorithm, Digest};
use crate::error::InvalidHasherState;

/// First byte of a saved state; a later layout takes another one.
const STATE_VERSION: u8 = 1;
/// version, algorithm, count of hashed bytes (big endian).
const PREFIX_LEN: usize = 2 + 8;
/// Leading bytes of the SHA-256 of everything before them: a torn or mixed-up row is noticed.
const CHECK_LEN: usize = 8;

/// Computes a [`Digest`] over bytes that arrive in pieces.
///
/// `save` and `restore` carry the progress across requests and processes: at whatever points the bytes are split, the
/// digest is the one of the whole.
#[derive(Clone)]
pub struct DigestHasher {
    state: State,
    len: u64,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl DigestHasher {
    /// A hasher that has seen no bytes yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state, len: 0 }
    }

    /// The algorithm it computes.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
        self.len = self.len.saturating_add(bytes.len() as u64);
    }

    /// How many bytes it has taken, over all processes it lived in.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has taken no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of everything taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        match self.state {
            State::Sha256(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
            State::Sha512(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
        }
    }

    /// The progress as opaque bytes (some 100 to 250) for [`restore`](Self::restore).
    ///
    /// The bytes contain up to one block of the content itself: keep them as confidential as the content.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut saved = vec![STATE_VERSION, algorithm_byte(self.algorithm())];
        saved.extend_from_slice(&self.len.to_be_bytes());
        match &self.state {
            State::Sha256(hasher) => saved.extend_from_slice(&hasher.serialize()),
            State::Sha512(hasher) => saved.extend_from_slice(&hasher.serialize()),
        }
        let check = Sha256::digest(&saved);
        saved.extend_from_slice(&check[..CHECK_LEN]);
        saved
    }

    /// The hasher whose [`save`](Self::save) returned `saved`.
    ///
    /// # Errors
    /// [`InvalidHasherState`]: not written by this version, cut off, or damaged; hash the content from its beginning.
    pub fn restore(saved: &[u8]) -> Result<Self, InvalidHasherState> {
        let body_len = saved.len().checked_sub(CHECK_LEN).ok_or(InvalidHasherState)?;
        let (body, check) = saved.split_at(body_len);
        if Sha256::digest(body)[..CHECK_LEN] != *check {
            return Err(InvalidHasherState);
        }
        let (prefix, inner) = body.split_at_checked(PREFIX_LEN).ok_or(InvalidHasherState)?;
        let (&[version, algorithm], len) = prefix.split_first_chunk().ok_or(InvalidHasherState)?;
        if version != STATE_VERSION {
            return Err(InvalidHasherState);
        }
        let len = u64::from_be_bytes(len.try_into().map_err(|_| InvalidHasherState)?);
        let state = match algorithm {
            b if b == algorithm_byte(Algorithm::Sha256) => State::Sha256(restore_inner(inner)?),
            b if b == algorithm_byte(Algorithm::Sha512) => State::Sha512(restore_inner(inner)?),
            _ => return Err(InvalidHasherState),
        };
        Ok(Self { state, len })
    }
}

fn restore_inner<H: SerializableState>(inner: &[u8]) -> Result<H, InvalidHasherState> {
    let state = SerializedState::<H>::try_from(inner).map_err(|_| InvalidHasherState)?;
    H::deserialize(&state).map_err(|_| InvalidHasherState)
}

fn algorithm_byte(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

impl std::fmt::Debug for DigestHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestHasher")
            .field("algorithm", &self.algorithm())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
