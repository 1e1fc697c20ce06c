//! Names of the headers, in lower case as HTTP libraries want them.

/// Digest of the content: `Docker-Content-Digest`.
pub const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";
/// `Docker-Distribution-Api-Version`; its value is [`API_VERSION`].
pub const DOCKER_DISTRIBUTION_API_VERSION: &str = "docker-distribution-api-version";
/// The session's id for old clients: `Docker-Upload-UUID`.
pub const DOCKER_UPLOAD_UUID: &str = "docker-upload-uuid";
/// The subject a pushed manifest was filed under: `OCI-Subject`.
pub const OCI_SUBJECT: &str = "oci-subject";
/// Which filters a referrers answer applied: `OCI-Filters-Applied`.
pub const OCI_FILTERS_APPLIED: &str = "oci-filters-applied";
/// Smallest chunk in bytes, the last one excepted: `OCI-Chunk-Min-Length`.
pub const OCI_CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";
/// Tags that a manifest push has set: `OCI-Tag`, one header per tag or a comma-separated list.
pub const OCI_TAG: &str = "oci-tag";
/// `Accept`
pub const ACCEPT: &str = "accept";
/// `Accept-Ranges`; its value is `bytes`.
pub const ACCEPT_RANGES: &str = "accept-ranges";
/// `Content-Length`
pub const CONTENT_LENGTH: &str = "content-length";
/// `Content-Range`
pub const CONTENT_RANGE: &str = "content-range";
/// `Content-Type`
pub const CONTENT_TYPE: &str = "content-type";
/// `ETag`
pub const ETAG: &str = "etag";
/// `Link`
pub const LINK: &str = "link";
/// `Location`
pub const LOCATION: &str = "location";
/// `Range`
pub const RANGE: &str = "range";
/// `Retry-After`
pub const RETRY_AFTER: &str = "retry-after";
/// `Warning`
pub const WARNING: &str = "warning";
/// `WWW-Authenticate`
pub const WWW_AUTHENTICATE: &str = "www-authenticate";

/// Value of [`DOCKER_DISTRIBUTION_API_VERSION`].
pub const API_VERSION: &str = "registry/2.0";
/// Value of [`OCI_FILTERS_APPLIED`] when `artifactType` was.
pub const FILTER_ARTIFACT_TYPE: &str = "artifactType";
