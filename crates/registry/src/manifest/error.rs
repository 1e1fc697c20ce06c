//! Why a manifest is not there, not taken or not deleted.

use atcr_oci::Digest;

/// What is wrong with a manifest or with what it names.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ManifestError {
    /// No such manifest in the repository.
    #[error("manifest {reference} is not in {name}")]
    Unknown {
        /// The repository as it was spelled.
        name: String,
        /// The tag or digest asked for.
        reference: String,
    },
    /// The account has no repository of that name, so no manifest in it.
    #[error("there is no repository {name}: the account has none of this name")]
    NoRepository {
        /// The repository as it was spelled.
        name: String,
    },
    /// The body is no manifest that can be kept.
    #[error("not a manifest: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest is bigger than a registry has to take.
    #[error("the manifest is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The manifest names blobs or manifests that were not pushed first.
    #[error("the manifest names content that is not there: {}", list(.missing))]
    BlobUnknown {
        /// Every missing digest.
        missing: Vec<Digest>,
    },
    /// The manifest is named by an index of the repository, so it stays.
    #[error("index {index} still names {digest}; delete the index first")]
    Referenced {
        /// The manifest that was to be deleted.
        digest: Digest,
        /// The index that names it.
        index: Digest,
    },
}

fn list(digests: &[Digest]) -> String {
    let texts: Vec<String> = digests.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
