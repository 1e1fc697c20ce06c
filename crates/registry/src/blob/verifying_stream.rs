//! Bytes that are checked on their way.

use std::io;

use atcr_oci::{Digest, DigestHasher};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::blob::ports::ByteStream;

/// Passes `bytes` on and hashes them. The last piece is held back until the whole is known to hash to `digest`; if it does not,
/// the stream ends in an error instead, so that the receiver cannot take wrong content for complete.
pub(super) fn verified(bytes: ByteStream, digest: Digest) -> ByteStream {
    let hasher = DigestHasher::new(digest.algorithm());
    let state = Some(Checking {
        bytes,
        hasher,
        held: None,
        digest,
    });
    Box::pin(stream::unfold(state, |state| async move {
        let mut state = state?;
        loop {
            match state.bytes.next().await {
                Some(Ok(piece)) => {
                    state.hasher.update(&piece);
                    if let Some(before) = state.held.replace(piece) {
                        return Some((Ok(before), Some(state)));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => return state.end().map(|last| (last, None)),
            }
        }
    }))
}

/// Passes `bytes` on and lets go of `permit` at their end, or when the reader goes away.
pub(super) fn while_held<P: Send + 'static>(permit: P, bytes: ByteStream) -> ByteStream {
    Box::pin(stream::unfold(
        (bytes, permit),
        |(mut bytes, permit)| async move {
            let piece = bytes.next().await?;
            Some((piece, (bytes, permit)))
        },
    ))
}

struct Checking {
    bytes: ByteStream,
    hasher: DigestHasher,
    held: Option<Bytes>,
    digest: Digest,
}

impl Checking {
    fn end(self) -> Option<io::Result<Bytes>> {
        if self.hasher.finish() == self.digest {
            return self.held.map(Ok);
        }
        tracing::error!(digest = %self.digest, "a hold sent other bytes than the digest names");
        Some(Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the content does not match its digest",
        )))
    }
}

#[cfg(test)]
mod tests {
    use atcr_oci::Algorithm;

    use super::*;

    async fn through(pieces: &[&'static str], promised: &str) -> (String, bool) {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
            .collect();
        let digest = Digest::of(Algorithm::Sha256, promised.as_bytes());
        let out: Vec<_> = verified(Box::pin(stream::iter(pieces)), digest).collect().await;
        let whole = out.iter().all(Result::is_ok);
        let text = out
            .into_iter()
            .flatten()
            .map(|piece| String::from_utf8(piece.to_vec()).unwrap())
            .collect();
        (text, whole)
    }

    #[tokio::test]
    async fn right_bytes_pass_and_wrong_ones_never_end_well() {
        assert_eq!(
            through(&["one, ", "two"], "one, two").await,
            ("one, two".to_owned(), true)
        );
        assert_eq!(
            through(&["one, ", "owt"], "one, two").await,
            ("one, ".to_owned(), false)
        );
        assert_eq!(through(&["one, "], "one, two").await, (String::new(), false));
        assert_eq!(through(&[], "").await, (String::new(), true));
        assert_eq!(through(&[], "something").await, (String::new(), false));
    }
}
