//! The URL grammar, spelled once for the server that parses and the client that builds.
//!
//! `/v2/` · `/v2/_catalog` · `/v2/<name>/manifests/<reference>` · `/v2/<name>/blobs/<digest>` ·
//! `/v2/<name>/blobs/uploads/[<session>]` · `/v2/<name>/tags/list` · `/v2/<name>/referrers/<digest>`

/// What every path begins with.
pub const ROOT: &str = "/v2/";
/// The list of repositories; not part of the OCI specification.
pub const CATALOG: &str = "_catalog";
/// Segment before a tag or digest.
pub const MANIFESTS: &str = "manifests";
/// Segment before a blob's digest.
pub const BLOBS: &str = "blobs";
/// Segment after `blobs` and before an upload session.
pub const UPLOADS: &str = "uploads";
/// Segment before `list`.
pub const TAGS: &str = "tags";
/// Segment after `tags`.
pub const LIST: &str = "list";
/// Segment before a subject's digest.
pub const REFERRERS: &str = "referrers";

/// Query: the digest of a finished upload.
pub const DIGEST: &str = "digest";
/// Query: the algorithm an upload is to be hashed with.
pub const DIGEST_ALGORITHM: &str = "digest-algorithm";
/// Query: the digest of a blob to mount.
pub const MOUNT: &str = "mount";
/// Query: the repository to mount from.
pub const FROM: &str = "from";
/// Query, repeatable: a tag to set besides.
pub const TAG: &str = "tag";
/// Query: how many entries.
pub const N: &str = "n";
/// Query: entries after this one.
pub const LAST: &str = "last";
/// Query: only referrers of this type.
pub const ARTIFACT_TYPE: &str = "artifactType";
