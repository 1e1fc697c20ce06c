//! What a request asks for, once path and query are known to be valid: one variant per endpoint, grouped by what it is about.

use crate::digest::{Algorithm, Digest};
use crate::pagination::Page;
use crate::reference::Reference;
use crate::repository_name::RepositoryName;
use crate::tag::Tag;
use crate::upload_session_id::UploadSessionId;

/// Most `tag` parameters of one manifest push; the spec asks for at least 10.
pub const MAX_EXTRA_TAGS: usize = 100;

/// A request to a registry. [`parse`](Self::parse) makes it from a method and URL, [`method`](Self::method) and
/// [`path_and_query`](Self::path_and_query) turn it back.
///
/// # Spec
/// distribution-spec v1.1, Endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegistryRequest {
    /// `GET /v2/`, end-1.
    Ping,
    /// `GET /v2/_catalog`; Docker's.
    Catalog {
        /// Which part of the list.
        page: Page,
    },
    /// Everything under `/v2/<name>/`.
    Repository {
        /// The repository.
        name: RepositoryName,
        /// What is asked of it.
        request: RepositoryRequest,
    },
}

/// A request about one repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RepositoryRequest {
    /// `/v2/<name>/manifests/<reference>`.
    Manifest(ManifestRequest),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(BlobRequest),
    /// `/v2/<name>/blobs/uploads/` and below.
    Upload(UploadRequest),
    /// `GET /v2/<name>/tags/list`, end-8.
    Tags {
        /// Which part of the list.
        page: Page,
    },
    /// `GET /v2/<name>/referrers/<digest>[?artifactType=…]`, end-12.
    Referrers {
        /// The subject; need not exist.
        digest: Digest,
        /// Only referrers with exactly this artifact type; `Some("")` asks for those without one.
        artifact_type: Option<String>,
    },
}

/// A request about one manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ManifestRequest {
    /// `GET`, end-3.
    Get {
        /// Which manifest.
        reference: Reference,
    },
    /// `HEAD`, end-3.
    Head {
        /// Which manifest.
        reference: Reference,
    },
    /// `PUT …[?tag=…]`, end-7a and end-7b.
    Put {
        /// The tag to give it, or the digest it must have.
        reference: Reference,
        /// Tags to give it besides; each once. The spec defines them for a push by digest, here they go with both.
        tags: Vec<Tag>,
    },
    /// `DELETE`, end-9.
    Delete {
        /// By tag: the tag only; by digest: the manifest.
        reference: Reference,
    },
}

/// A request about one blob.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BlobRequest {
    /// `GET`, end-2.
    Get {
        /// Which blob.
        digest: Digest,
    },
    /// `HEAD`, end-2.
    Head {
        /// Which blob.
        digest: Digest,
    },
    /// `DELETE`, end-10.
    Delete {
        /// Which blob.
        digest: Digest,
    },
}

/// A request about an upload: the first starts one, the others go to its location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UploadRequest {
    /// `POST`, end-4a, end-4b, end-4c and end-11.
    Start {
        /// A blob to take from another repository instead of uploading it; if that cannot be done, an upload starts.
        mount: Option<Mount>,
        /// The digest of the body, which is the whole blob.
        digest: Option<Digest>,
        /// The algorithm that the digest at the end will have.
        digest_algorithm: Option<Algorithm>,
    },
    /// `PATCH`: a chunk, end-5.
    Patch {
        /// The session.
        session: UploadSessionId,
    },
    /// `PUT …?digest=<digest>`: perhaps a last chunk, then the end, end-6.
    Complete {
        /// The session.
        session: UploadSessionId,
        /// What the whole must hash to.
        digest: Digest,
    },
    /// `GET`: how much was received, end-13.
    Status {
        /// The session.
        session: UploadSessionId,
    },
    /// `DELETE`: give it up, end-14.
    Cancel {
        /// The session.
        session: UploadSessionId,
    },
}

/// A blob to take from a repository that has it already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mount {
    /// Which blob.
    pub digest: Digest,
    /// Where to take it from; `None`: wherever the registry finds it.
    pub from: Option<RepositoryName>,
}

impl RegistryRequest {
    /// The repository it is about; `None` for [`Ping`](Self::Ping) and [`Catalog`](Self::Catalog).
    #[must_use]
    pub fn name(&self) -> Option<&RepositoryName> {
        match self {
            Self::Ping | Self::Catalog { .. } => None,
            Self::Repository { name, .. } => Some(name),
        }
    }
}

impl RepositoryRequest {
    /// The same as a request to the registry, about `name`.
    #[must_use]
    pub fn to(self, name: RepositoryName) -> RegistryRequest {
        RegistryRequest::Repository { name, request: self }
    }

    /// The actions a token needs on the repository: what a challenge asks for.
    #[must_use]
    pub fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::Manifest(ManifestRequest::Get { .. } | ManifestRequest::Head { .. })
            | Self::Blob(BlobRequest::Get { .. } | BlobRequest::Head { .. })
            | Self::Tags { .. }
            | Self::Referrers { .. } => &["pull"],
            Self::Manifest(ManifestRequest::Put { .. }) | Self::Upload(_) => &["pull", "push"],
            Self::Manifest(ManifestRequest::Delete { .. }) | Self::Blob(BlobRequest::Delete { .. }) => {
                &["delete"]
            }
        }
    }
}

impl From<ManifestRequest> for RepositoryRequest {
    fn from(request: ManifestRequest) -> Self {
        Self::Manifest(request)
    }
}

impl From<BlobRequest> for RepositoryRequest {
    fn from(request: BlobRequest) -> Self {
        Self::Blob(request)
    }
}

impl From<UploadRequest> for RepositoryRequest {
    fn from(request: UploadRequest) -> Self {
        Self::Upload(request)
    }
}
