//! Why repository data cannot be read.

use atcr_atproto::syntax::Cid;

/// Why an operation on repository data did not finish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A tree node is missing. Fetch it and repeat the operation.
    #[error("the tree node {0} is not at hand")]
    Missing(Cid),
    /// The bytes are malformed.
    #[error("malformed repository data: {0}")]
    Malformed(&'static str),
}
