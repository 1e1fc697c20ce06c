//! The digest of an upload, computed while the bytes pass, unless the hold's store hashes what it stores.
//!
//! A client need not say before the end which algorithm it uses, so both are computed at first. Clients that use SHA-512 for
//! large blobs say so when they start; beyond [`UNDECLARED_SHA512_BYTES`] an undeclared upload goes on with SHA-256 alone.

use atcr_oci::{Algorithm, Digest, DigestHasher};
use atcr_server::pieces::Piece;

/// Up to here both digests are computed when the client has not named one. SHA-512 of as much costs some 15 ms.
pub const UNDECLARED_SHA512_BYTES: u64 = 8 * 1024 * 1024;

/// The running digests of one upload; can be written down and taken up again.
#[derive(Clone)]
pub struct UploadHash {
    sha256: Option<DigestHasher>,
    sha512: Option<DigestHasher>,
}

/// A stored hash state that cannot be read back.
#[derive(Debug, thiserror::Error)]
#[error("the stored hash state is damaged")]
pub struct InvalidHashState;

impl UploadHash {
    /// Starts a digest of `declared`, or of either algorithm when the client named none.
    #[must_use]
    pub fn new(declared: Option<Algorithm>) -> Self {
        let wants = |algorithm| declared.is_none_or(|declared| declared == algorithm);
        Self {
            sha256: wants(Algorithm::Sha256).then(|| DigestHasher::new(Algorithm::Sha256)),
            sha512: wants(Algorithm::Sha512).then(|| DigestHasher::new(Algorithm::Sha512)),
        }
    }

    /// Computes nothing: the hold does.
    #[must_use]
    pub fn left_to_the_hold() -> Self {
        Self {
            sha256: None,
            sha512: None,
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, piece: &Piece) {
        piece.frames().for_each(|frame| self.update_frame(frame));
    }

    fn update_frame(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
            if hasher.len() > UNDECLARED_SHA512_BYTES {
                self.sha512 = None;
            }
        }
        if let Some(hasher) = &mut self.sha512 {
            hasher.update(bytes);
        }
    }

    /// The digest of everything so far, `None` when that algorithm has not been computed.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> Option<Digest> {
        let hasher = match algorithm {
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512 => &self.sha512,
        };
        hasher.clone().map(DigestHasher::finish)
    }

    /// The state as bytes for [`UploadHash::restore`]: for either algorithm a 4-byte big-endian length and the hasher's own state.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut saved = Vec::new();
        for hasher in [&self.sha256, &self.sha512] {
            let state = hasher.as_ref().map(DigestHasher::save).unwrap_or_default();
            saved.extend_from_slice(&u32::try_from(state.len()).unwrap_or(u32::MAX).to_be_bytes());
            saved.extend_from_slice(&state);
        }
        saved
    }

    /// Takes up a state written by [`UploadHash::save`].
    pub fn restore(saved: &[u8]) -> Result<Self, InvalidHashState> {
        let (sha256, rest) = restore_one(saved)?;
        let (sha512, rest) = restore_one(rest)?;
        if rest.is_empty() {
            Ok(Self { sha256, sha512 })
        } else {
            Err(InvalidHashState)
        }
    }
}

fn restore_one(saved: &[u8]) -> Result<(Option<DigestHasher>, &[u8]), InvalidHashState> {
    let (len, rest) = saved.split_first_chunk::<4>().ok_or(InvalidHashState)?;
    let len = u32::from_be_bytes(*len) as usize;
    let (state, rest) = rest.split_at_checked(len).ok_or(InvalidHashState)?;
    if state.is_empty() {
        return Ok((None, rest));
    }
    let hasher = DigestHasher::restore(state).map_err(|_| InvalidHashState)?;
    Ok((Some(hasher), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_hash_goes_on_where_it_stopped() {
        let mut hash = UploadHash::new(None);
        hash.update_frame(b"the first half, ");
        let mut hash = UploadHash::restore(&hash.save()).unwrap();
        hash.update_frame(b"the second half");
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let whole = Digest::of(algorithm, b"the first half, the second half");
            assert_eq!(hash.digest(algorithm), Some(whole));
        }
    }

    #[test]
    fn a_declared_algorithm_is_the_only_one_computed() {
        let mut hash = UploadHash::new(Some(Algorithm::Sha512));
        hash.update_frame(b"bytes");
        assert_eq!(
            hash.digest(Algorithm::Sha512),
            Some(Digest::of(Algorithm::Sha512, b"bytes"))
        );
        assert_eq!(hash.digest(Algorithm::Sha256), None);
    }

    #[test]
    fn a_large_undeclared_upload_goes_on_with_sha256_alone() {
        let mut hash = UploadHash::new(None);
        let megabyte = vec![7_u8; 1024 * 1024];
        for _ in 0..9 {
            hash.update_frame(&megabyte);
        }
        assert!(hash.digest(Algorithm::Sha256).is_some());
        assert_eq!(hash.digest(Algorithm::Sha512), None);
    }

    #[test]
    fn damaged_states_are_refused() {
        let saved = UploadHash::new(None).save();
        assert!(UploadHash::restore(&saved[..saved.len() - 1]).is_err());
        assert!(UploadHash::restore(&[]).is_err());
        assert!(UploadHash::restore(&[0, 0, 0, 9, 1]).is_err());
    }
}
