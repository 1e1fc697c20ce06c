//! The header set of each successful answer, as pairs of a lower-case name ([`header`]) and a value.
//!
//! Lengths of bodies that the server sends itself are left to the HTTP library.

use crate::digest::Digest;
use crate::header;
use crate::http_range::ContentRange;
use crate::media_type::MediaType;
use crate::repository_name::RepositoryName;
use crate::tag::Tag;
use crate::upload_session_id::UploadSessionId;
use crate::url::{blob_path, manifest_path, upload_path};

/// Headers of one answer.
pub type HeaderSet = Vec<(&'static str, String)>;

/// 200 to a manifest GET or HEAD; `size` is the length of the bytes. End-3.
#[must_use]
pub fn manifest(media_type: &MediaType, digest: &Digest, size: u64) -> HeaderSet {
    vec![
        (header::CONTENT_TYPE, media_type.to_string()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::DOCKER_CONTENT_DIGEST, digest.to_string()),
        (header::ETAG, format!("\"{digest}\"")),
    ]
}

/// 201 to a manifest PUT: where it is now, which `subject` it was filed under, which tags of `?tag=` were set. End-7.
#[must_use]
pub fn manifest_created(
    name: &RepositoryName,
    digest: &Digest,
    subject: Option<&Digest>,
    tags: &[Tag],
) -> HeaderSet {
    let mut headers = vec![
        (header::LOCATION, manifest_path(name, &digest.clone().into())),
        (header::DOCKER_CONTENT_DIGEST, digest.to_string()),
    ];
    headers.extend(subject.map(|subject| (header::OCI_SUBJECT, subject.to_string())));
    headers.extend(tags.iter().map(|tag| (header::OCI_TAG, tag.to_string())));
    headers
}

/// 200 to a blob GET or HEAD; `size` is the length of the whole blob. End-2.
#[must_use]
pub fn blob(digest: &Digest, size: u64) -> HeaderSet {
    vec![
        (header::CONTENT_TYPE, MediaType::OCTET_STREAM.to_string()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::DOCKER_CONTENT_DIGEST, digest.to_string()),
        (header::ETAG, format!("\"{digest}\"")),
    ]
}

/// 201 to a finished upload or a mount. End-4b, end-6, end-11.
#[must_use]
pub fn blob_created(name: &RepositoryName, digest: &Digest) -> HeaderSet {
    vec![
        (header::LOCATION, blob_path(name, digest)),
        (header::DOCKER_CONTENT_DIGEST, digest.to_string()),
    ]
}

/// 202 to the start of an upload or to a chunk, 204 to a status request, and what a 416 carries: where to go on and how
/// much was `received`. End-4a, end-5, end-13.
#[must_use]
pub fn upload_progress(name: &RepositoryName, session: &UploadSessionId, received: u64) -> HeaderSet {
    vec![
        (header::LOCATION, upload_path(name, session)),
        (header::RANGE, ContentRange::received(received).to_string()),
        (header::DOCKER_UPLOAD_UUID, session.to_string()),
    ]
}

/// 200 to a referrers request; `filtered` says that `artifactType` was applied. End-12.
#[must_use]
pub fn referrers(filtered: bool) -> HeaderSet {
    let mut headers = vec![(header::CONTENT_TYPE, MediaType::OCI_IMAGE_INDEX.to_string())];
    if filtered {
        headers.push((
            header::OCI_FILTERS_APPLIED,
            header::FILTER_ARTIFACT_TYPE.to_owned(),
        ));
    }
    headers
}
