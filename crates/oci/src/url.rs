//! [`RegistryRequest`] → method and URL: the asking side of the grammar in `path.rs`, and the paths that answers name.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::digest::Digest;
use crate::path::{
    ARTIFACT_TYPE, BLOBS, CATALOG, DIGEST, DIGEST_ALGORITHM, FROM, LIST, MANIFESTS, MOUNT, REFERRERS, ROOT,
    TAG, TAGS, UPLOADS,
};
use crate::reference::Reference;
use crate::repository_name::RepositoryName;
use crate::request::{BlobRequest, ManifestRequest, RegistryRequest, RepositoryRequest, UploadRequest};
use crate::upload_session_id::UploadSessionId;

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(crate) fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `/v2/<name>/manifests/<reference>`
#[must_use]
pub fn manifest_path(name: &RepositoryName, reference: &Reference) -> String {
    format!("{ROOT}{name}/{MANIFESTS}/{reference}")
}

/// `/v2/<name>/blobs/<digest>`
#[must_use]
pub fn blob_path(name: &RepositoryName, digest: &Digest) -> String {
    format!("{ROOT}{name}/{BLOBS}/{digest}")
}

/// `/v2/<name>/blobs/uploads/`, where uploads start
#[must_use]
pub fn upload_start_path(name: &RepositoryName) -> String {
    format!("{ROOT}{name}/{BLOBS}/{UPLOADS}/")
}

/// `/v2/<name>/blobs/uploads/<session>`: the session is in the path, since clients replace the query.
#[must_use]
pub fn upload_path(name: &RepositoryName, session: &UploadSessionId) -> String {
    format!("{ROOT}{name}/{BLOBS}/{UPLOADS}/{session}")
}

/// `/v2/<name>/tags/list`
#[must_use]
pub fn tags_path(name: &RepositoryName) -> String {
    format!("{ROOT}{name}/{TAGS}/{LIST}")
}

/// `/v2/<name>/referrers/<digest>`
#[must_use]
pub fn referrers_path(name: &RepositoryName, digest: &Digest) -> String {
    format!("{ROOT}{name}/{REFERRERS}/{digest}")
}

/// `/v2/_catalog`
#[must_use]
pub fn catalog_path() -> String {
    format!("{ROOT}{CATALOG}")
}

/// Collects query parameters, percent-encoded.
#[derive(Default)]
pub(crate) struct QueryBuilder(String);

impl QueryBuilder {
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, RESERVED));
    }
}

impl RegistryRequest {
    /// The HTTP method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Ping | Self::Catalog { .. } => "GET",
            Self::Repository { request, .. } => request.method(),
        }
    }

    /// Path and query, ready to follow a registry's scheme and host.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        let mut query = QueryBuilder::default();
        let mut path = match self {
            Self::Ping => ROOT.to_owned(),
            Self::Catalog { page } => {
                page.append_to(&mut query);
                catalog_path()
            }
            Self::Repository { name, request } => request.path(name, &mut query),
        };
        path.push_str(&query.0);
        path
    }
}

impl RepositoryRequest {
    fn method(&self) -> &'static str {
        match self {
            Self::Manifest(ManifestRequest::Get { .. })
            | Self::Blob(BlobRequest::Get { .. })
            | Self::Upload(UploadRequest::Status { .. })
            | Self::Tags { .. }
            | Self::Referrers { .. } => "GET",
            Self::Manifest(ManifestRequest::Head { .. }) | Self::Blob(BlobRequest::Head { .. }) => "HEAD",
            Self::Manifest(ManifestRequest::Put { .. }) | Self::Upload(UploadRequest::Complete { .. }) => {
                "PUT"
            }
            Self::Manifest(ManifestRequest::Delete { .. })
            | Self::Blob(BlobRequest::Delete { .. })
            | Self::Upload(UploadRequest::Cancel { .. }) => "DELETE",
            Self::Upload(UploadRequest::Start { .. }) => "POST",
            Self::Upload(UploadRequest::Patch { .. }) => "PATCH",
        }
    }

    /// The path about `name`; parameters go to `query`.
    fn path(&self, name: &RepositoryName, query: &mut QueryBuilder) -> String {
        match self {
            Self::Manifest(request) => request.path(name, query),
            Self::Blob(
                BlobRequest::Get { digest } | BlobRequest::Head { digest } | BlobRequest::Delete { digest },
            ) => blob_path(name, digest),
            Self::Upload(request) => request.path(name, query),
            Self::Tags { page } => {
                page.append_to(query);
                tags_path(name)
            }
            Self::Referrers {
                digest,
                artifact_type,
            } => {
                if let Some(artifact_type) = artifact_type {
                    query.push(ARTIFACT_TYPE, artifact_type);
                }
                referrers_path(name, digest)
            }
        }
    }
}

impl ManifestRequest {
    fn path(&self, name: &RepositoryName, query: &mut QueryBuilder) -> String {
        let (Self::Get { reference }
        | Self::Head { reference }
        | Self::Put { reference, .. }
        | Self::Delete { reference }) = self;
        if let Self::Put { tags, .. } = self {
            for tag in tags {
                query.push(TAG, tag.as_str());
            }
        }
        manifest_path(name, reference)
    }
}

impl UploadRequest {
    fn path(&self, name: &RepositoryName, query: &mut QueryBuilder) -> String {
        match self {
            Self::Start {
                mount,
                digest,
                digest_algorithm,
            } => {
                if let Some(mount) = mount {
                    query.push(MOUNT, mount.digest.as_str());
                    if let Some(from) = &mount.from {
                        query.push(FROM, from.as_str());
                    }
                }
                if let Some(digest) = digest {
                    query.push(DIGEST, digest.as_str());
                }
                if let Some(algorithm) = digest_algorithm {
                    query.push(DIGEST_ALGORITHM, algorithm.as_str());
                }
                upload_start_path(name)
            }
            Self::Complete { session, digest } => {
                query.push(DIGEST, digest.as_str());
                upload_path(name, session)
            }
            Self::Patch { session } | Self::Status { session } | Self::Cancel { session } => {
                upload_path(name, session)
            }
        }
    }
}
