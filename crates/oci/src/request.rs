//! One variant per endpoint: what a request asks for, once path and query are known to be valid.

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
    /// `GET /v2/<name>/manifests/<reference>`, end-3.
    ManifestGet {
        /// The repository.
        name: RepositoryName,
        /// Which manifest.
        reference: Reference,
    },
    /// `HEAD /v2/<name>/manifests/<reference>`, end-3.
    ManifestHead {
        /// The repository.
        name: RepositoryName,
        /// Which manifest.
        reference: Reference,
    },
    /// `PUT /v2/<name>/manifests/<reference>[?tag=…]`, end-7a and end-7b.
    ManifestPut {
        /// The repository.
        name: RepositoryName,
        /// The tag to give it, or the digest it must have.
        reference: Reference,
        /// Tags to give it besides; each once. The spec defines them for a push by digest, here they go with both.
        tags: Vec<Tag>,
    },
    /// `DELETE /v2/<name>/manifests/<reference>`, end-9.
    ManifestDelete {
        /// The repository.
        name: RepositoryName,
        /// By tag: the tag only; by digest: the manifest.
        reference: Reference,
    },
    /// `GET /v2/<name>/blobs/<digest>`, end-2.
    BlobGet {
        /// The repository.
        name: RepositoryName,
        /// Which blob.
        digest: Digest,
    },
    /// `HEAD /v2/<name>/blobs/<digest>`, end-2.
    BlobHead {
        /// The repository.
        name: RepositoryName,
        /// Which blob.
        digest: Digest,
    },
    /// `DELETE /v2/<name>/blobs/<digest>`, end-10.
    BlobDelete {
        /// The repository.
        name: RepositoryName,
        /// Which blob.
        digest: Digest,
    },
    /// `POST /v2/<name>/blobs/uploads/`, end-4a, end-4b, end-4c and end-11.
    UploadStart {
        /// The repository.
        name: RepositoryName,
        /// A blob to take from another repository instead of uploading it; if that cannot be done, an upload starts.
        mount: Option<Mount>,
        /// The digest of the body, which is the whole blob.
        digest: Option<Digest>,
        /// The algorithm that the digest at the end will have.
        digest_algorithm: Option<Algorithm>,
    },
    /// `PATCH <location>`: a chunk, end-5.
    UploadPatch {
        /// The repository.
        name: RepositoryName,
        /// The session.
        session: UploadSessionId,
    },
    /// `PUT <location>?digest=<digest>`: perhaps a last chunk, then the end, end-6.
    UploadComplete {
        /// The repository.
        name: RepositoryName,
        /// The session.
        session: UploadSessionId,
        /// What the whole must hash to.
        digest: Digest,
    },
    /// `GET <location>`: how much was received, end-13.
    UploadStatus {
        /// The repository.
        name: RepositoryName,
        /// The session.
        session: UploadSessionId,
    },
    /// `DELETE <location>`: give it up, end-14.
    UploadCancel {
        /// The repository.
        name: RepositoryName,
        /// The session.
        session: UploadSessionId,
    },
    /// `GET /v2/<name>/tags/list`, end-8.
    Tags {
        /// The repository.
        name: RepositoryName,
        /// Which part of the list.
        page: Page,
    },
    /// `GET /v2/<name>/referrers/<digest>[?artifactType=…]`, end-12.
    Referrers {
        /// The repository.
        name: RepositoryName,
        /// The subject; need not exist.
        digest: Digest,
        /// Only referrers with exactly this artifact type; `Some("")` asks for those without one.
        artifact_type: Option<String>,
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
            Self::ManifestGet { name, .. }
            | Self::ManifestHead { name, .. }
            | Self::ManifestPut { name, .. }
            | Self::ManifestDelete { name, .. }
            | Self::BlobGet { name, .. }
            | Self::BlobHead { name, .. }
            | Self::BlobDelete { name, .. }
            | Self::UploadStart { name, .. }
            | Self::UploadPatch { name, .. }
            | Self::UploadComplete { name, .. }
            | Self::UploadStatus { name, .. }
            | Self::UploadCancel { name, .. }
            | Self::Tags { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }

    /// The actions a token needs on [`name`](Self::name): what a challenge asks for. Empty for ping and catalog.
    #[must_use]
    pub fn actions(&self) -> &'static [&'static str] {
        match self {
            Self::Ping | Self::Catalog { .. } => &[],
            Self::ManifestGet { .. }
            | Self::ManifestHead { .. }
            | Self::BlobGet { .. }
            | Self::BlobHead { .. }
            | Self::Tags { .. }
            | Self::Referrers { .. } => &["pull"],
            Self::ManifestPut { .. }
            | Self::UploadStart { .. }
            | Self::UploadPatch { .. }
            | Self::UploadComplete { .. }
            | Self::UploadStatus { .. }
            | Self::UploadCancel { .. } => &["pull", "push"],
            Self::ManifestDelete { .. } | Self::BlobDelete { .. } => &["delete"],
        }
    }
}
