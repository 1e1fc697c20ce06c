//! What the registry answers: codes, bodies and header sets.

use atcr_oci::response_headers::{self, HeaderSet};
use atcr_oci::{
    Algorithm, CatalogBody, Digest, ErrorCode, ErrorResponse, ImageIndex, MediaType, RepositoryName, Tag,
    TagList, UploadSessionId,
};

#[test]
fn codes_are_spelled_as_in_the_specification() {
    let spelled: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(
        spelled,
        [
            "BLOB_UNKNOWN",
            "BLOB_UPLOAD_INVALID",
            "BLOB_UPLOAD_UNKNOWN",
            "DIGEST_INVALID",
            "MANIFEST_BLOB_UNKNOWN",
            "MANIFEST_INVALID",
            "MANIFEST_UNKNOWN",
            "NAME_INVALID",
            "NAME_UNKNOWN",
            "SIZE_INVALID",
            "UNAUTHORIZED",
            "DENIED",
            "UNSUPPORTED",
            "TOOMANYREQUESTS",
            "UNAVAILABLE",
            "UNKNOWN",
        ]
    );
    for code in ErrorCode::ALL {
        let json = serde_json::to_string(&code).expect("json");
        assert_eq!(serde_json::from_str::<ErrorCode>(&json).expect("a code"), code);
    }
    assert_eq!(
        serde_json::from_str::<ErrorCode>("\"TEAPOT\"").expect("a code"),
        ErrorCode::Unknown
    );
}

#[test]
fn errors_have_the_body_of_the_specification() {
    let body = ErrorResponse::new(ErrorCode::NameUnknown, "no such repository");
    assert_eq!(
        serde_json::to_string(&body).expect("json"),
        r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#
    );
    let detail = serde_json::json!({"digest": "sha256:x"});
    let body = ErrorResponse::with_detail(ErrorCode::ManifestBlobUnknown, "content is missing", detail);
    assert_eq!(
        serde_json::to_string(&body).expect("json"),
        r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"content is missing","detail":{"digest":"sha256:x"}}]}"#
    );
    let foreign: ErrorResponse =
        serde_json::from_str(r#"{"errors":[{"code":"DENIED","detail":null}]}"#).expect("a body");
    assert_eq!(foreign.errors[0].code, ErrorCode::Denied);
}

#[test]
fn lists_have_the_bodies_of_the_specification() {
    let tags = TagList {
        name: "alice.test/app".to_owned(),
        tags: vec![],
    };
    assert_eq!(
        serde_json::to_string(&tags).expect("json"),
        r#"{"name":"alice.test/app","tags":[]}"#
    );
    let tags: TagList = serde_json::from_str(r#"{"name":"a","tags":null}"#).expect("a list");
    assert!(tags.tags.is_empty());
    let catalog = CatalogBody {
        repositories: vec!["alice.test/app".to_owned()],
    };
    assert_eq!(
        serde_json::to_string(&catalog).expect("json"),
        r#"{"repositories":["alice.test/app"]}"#
    );
    assert_eq!(
        serde_json::to_string(&ImageIndex::new(vec![])).expect("json"),
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#
    );
}

#[test]
fn answers_carry_their_headers() {
    let name = RepositoryName::new("alice.test", "app").expect("a name");
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let subject = Digest::of(Algorithm::Sha512, b"subject");
    let session = UploadSessionId::from_bytes(&[0; 32]);
    let tags: Vec<Tag> = ["v1", "latest"]
        .into_iter()
        .filter_map(|tag| tag.parse().ok())
        .collect();
    let check = |headers: HeaderSet, expected: &[(&str, &str)]| {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(headers, expected);
    };
    let digest_text = digest.as_str();
    let etag = format!("\"{digest}\"");

    check(
        response_headers::manifest(&MediaType::OCI_IMAGE_INDEX, &digest, 7),
        &[
            ("content-type", "application/vnd.oci.image.index.v1+json"),
            ("content-length", "7"),
            ("docker-content-digest", digest_text),
            ("etag", &etag),
        ],
    );
    check(
        response_headers::manifest_created(&name, &digest, Some(&subject), &tags),
        &[
            ("location", &format!("/v2/alice.test/app/manifests/{digest}")),
            ("docker-content-digest", digest_text),
            ("oci-subject", subject.as_str()),
            ("oci-tag", "v1"),
            ("oci-tag", "latest"),
        ],
    );
    check(
        response_headers::blob(&digest, 7),
        &[
            ("content-type", "application/octet-stream"),
            ("content-length", "7"),
            ("accept-ranges", "bytes"),
            ("docker-content-digest", digest_text),
            ("etag", &etag),
        ],
    );
    check(
        response_headers::blob_created(&name, &digest),
        &[
            ("location", &format!("/v2/alice.test/app/blobs/{digest}")),
            ("docker-content-digest", digest_text),
        ],
    );
    check(
        response_headers::upload_progress(&name, &session, 1024),
        &[
            ("location", &format!("/v2/alice.test/app/blobs/uploads/{session}")),
            ("range", "0-1023"),
            ("docker-upload-uuid", session.as_str()),
        ],
    );
    check(
        response_headers::referrers(true),
        &[
            ("content-type", "application/vnd.oci.image.index.v1+json"),
            ("oci-filters-applied", "artifactType"),
        ],
    );
    check(
        response_headers::referrers(false),
        &[("content-type", "application/vnd.oci.image.index.v1+json")],
    );
}
