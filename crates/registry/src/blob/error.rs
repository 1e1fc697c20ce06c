//! Why there is no such blob, or why bytes are not what they were said to be.

use atcr_atproto::syntax::Did;
use atcr_oci::Digest;

/// What is wrong with a blob, or with the bytes of one (or of a manifest) that is pushed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// No such blob.
    #[error("blob {digest} is not known")]
    Unknown {
        /// The digest asked for.
        digest: Digest,
    },
    /// A manifest of the repository names it, so that it cannot be deleted.
    #[error("{message}")]
    InUse {
        /// Which manifest.
        message: String,
    },
    /// The bytes do not hash to the digest that was given for them.
    #[error("the content hashes to {actual}, not to {expected}")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What was computed.
        actual: Digest,
    },
    /// The hold looked at the bytes itself and found that they are not what the digest names.
    #[error("hold {hold} found that the content does not hash to {digest}")]
    DigestRefused {
        /// The hold.
        hold: Did,
        /// What was promised.
        digest: Digest,
    },
    /// The blob or its part is longer or shorter than it was said to be.
    #[error("{reason}")]
    SizeInvalid {
        /// What was expected and what came.
        reason: String,
    },
}
