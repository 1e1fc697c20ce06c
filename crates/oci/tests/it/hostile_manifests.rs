//! Bodies that are no manifest, or that another parser would read as a different one.

use atcr_oci::{
    Algorithm, Digest, ErrorCode, MAX_DESCRIPTORS, MAX_JSON_DEPTH, MAX_MANIFEST_BYTES, Manifest,
    ManifestError, MediaType,
};
use bytes::Bytes;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A descriptor as JSON text.
fn descriptor(content: &str) -> String {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    format!(
        r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{}}}"#,
        content.len()
    )
}

/// An image manifest whose config is fine; `more` is put between its fields.
fn image_with(more: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{},{more}"layers":[]}}"#,
        descriptor("c")
    )
}

fn refuse(body: impl Into<Bytes>, content_type: Option<&str>) -> ManifestError {
    let error = Manifest::parse(body.into(), content_type).expect_err("refused");
    let message = error.to_string();
    assert!(message.len() < 1300, "{message}");
    error
}

/// The body is refused as `MANIFEST_INVALID`, 400.
fn refuse_as_invalid(body: impl Into<Bytes>) -> ManifestError {
    let error = refuse(body, None);
    assert_eq!(
        (error.status(), error.code()),
        (400, ErrorCode::ManifestInvalid),
        "{error}"
    );
    error
}

fn refuse_as_malformed(body: impl Into<Bytes>) {
    let error = refuse_as_invalid(body);
    assert!(matches!(error, ManifestError::Malformed { .. }), "{error:?}");
}

#[test]
fn the_bodies_below_are_fine_without_their_twist() {
    assert!(Manifest::parse(image_with("").into(), Some(IMAGE)).is_ok());
}

#[test]
fn more_than_four_mebibytes_is_too_large() {
    let padding = |len: usize| image_with(&format!(r#""x":"{}","#, "y".repeat(len)));
    let base = padding(0).len();
    assert!(Manifest::parse(padding(MAX_MANIFEST_BYTES - base).into(), None).is_ok());
    let error = refuse(padding(MAX_MANIFEST_BYTES - base + 1), None);
    assert_eq!(error, ManifestError::TooLarge);
    assert_eq!((error.status(), error.code()), (413, ErrorCode::SizeInvalid));
}

#[test]
fn a_million_descriptors_are_refused_by_size_before_they_are_read() {
    let one = descriptor("x");
    let body = format!(
        r#"{{"schemaVersion":2,"manifests":[{}{one}]}}"#,
        format!("{one},").repeat(999_999)
    );
    assert_eq!(refuse(body, Some(INDEX)), ManifestError::TooLarge);
    // In the shortest form that is an entry at all, a million of them fits and is stopped by the count of values.
    let body = format!(
        r#"{{"schemaVersion":2,"manifests":[{}{{}}]}}"#,
        "{},".repeat(999_999)
    );
    assert_eq!(refuse(body, Some(INDEX)), ManifestError::TooManyValues);
}

#[test]
fn more_descriptors_than_the_cap_are_refused() {
    let one = descriptor("x");
    let list = |count: usize| vec![one.as_str(); count].join(",");
    let index = |count| format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, list(count));
    let accepted = Manifest::parse(index(MAX_DESCRIPTORS).into(), Some(INDEX)).expect("an index");
    assert_eq!(accepted.manifests().len(), MAX_DESCRIPTORS);
    assert_eq!(
        refuse_as_invalid(index(MAX_DESCRIPTORS + 1)),
        ManifestError::TooManyDescriptors
    );
    let image = format!(
        r#"{{"schemaVersion":2,"config":{one},"layers":[{}]}}"#,
        list(MAX_DESCRIPTORS + 1)
    );
    assert_eq!(refuse_as_invalid(image), ManifestError::TooManyDescriptors);
}

#[test]
fn swarms_of_tiny_values_are_refused_wherever_they_stand() {
    let strings = format!("[{}\"\"]", "\"\",".repeat(1_000_000));
    assert_eq!(
        refuse_as_invalid(image_with(&format!(r#""unknown":{strings},"#))),
        ManifestError::TooManyValues
    );
    let urls = descriptor("x").replace("\"size\"", &format!("\"urls\":{strings},\"size\""));
    let body = format!(r#"{{"schemaVersion":2,"config":{urls}}}"#);
    assert_eq!(refuse_as_invalid(body), ManifestError::TooManyValues);
    // Commas and brackets inside text are no values.
    let text = format!(r#""unknown":"{}","#, "[,\\\",{".repeat(100_000));
    assert!(Manifest::parse(image_with(&text).into(), None).is_ok());
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| image_with(&format!(r#""x":{}{},"#, "[".repeat(depth), "]".repeat(depth)));
    assert!(Manifest::parse(nested(MAX_JSON_DEPTH - 1).into(), None).is_ok());
    assert_eq!(refuse_as_invalid(nested(MAX_JSON_DEPTH)), ManifestError::TooDeep);
    assert_eq!(refuse_as_invalid(nested(1_000_000)), ManifestError::TooDeep);
    assert_eq!(
        refuse_as_invalid("{\"a\":".repeat(500_000)),
        ManifestError::TooDeep
    );
}

#[test]
fn what_is_not_one_json_object_is_malformed() {
    let valid = image_with("");
    let twice = format!("{valid}{valid}");
    let marked = format!("\u{feff}{valid}");
    let mut not_utf8 = image_with("\"x\":\"?\",").into_bytes();
    let place = not_utf8.iter().position(|b| *b == b'?').unwrap_or_default();
    not_utf8[place] = 0xff;
    for body in [
        "",
        "null",
        "[]",
        "2",
        "\"x\"",
        "{",
        "{}x",
        &valid[1..],
        &valid[..valid.len() - 1],
        &twice,
        &marked,
    ] {
        refuse_as_malformed(body.to_owned());
    }
    refuse_as_malformed(not_utf8);
}

#[test]
fn a_field_twice_is_refused() {
    let config = descriptor("other");
    for field in [
        format!(r#""mediaType":"{IMAGE}","#),
        format!(r#""mediaType":"{INDEX}","#),
        r#""schemaVersion":2,"#.to_owned(),
        format!(r#""config":{config},"#),
        r#""layers":[],"#.to_owned(),
        r#""layers":null,"#.to_owned(),
        r#""annotations":{},"annotations":{},"#.to_owned(),
        format!(r#""subject":{config},"subject":{config},"#),
        r#""artifactType":"a/b","artifactType":"a/b","#.to_owned(),
        // The same key, written with an escape.
        format!(r#""media\u0054ype":"{IMAGE}","#),
    ] {
        refuse_as_malformed(image_with(&field));
    }
    let other = Digest::of(Algorithm::Sha256, b"other");
    let descriptor = descriptor("x").replace("\"size\"", &format!("\"digest\":\"{other}\",\"size\""));
    refuse_as_malformed(format!(r#"{{"schemaVersion":2,"config":{descriptor}}}"#));
}

#[test]
fn a_field_in_another_case_is_refused() {
    for key in [
        "MediaType",
        "mediatype",
        "LAYERS",
        "Config",
        "Manifests",
        "layer\u{17f}",
        "fslayers",
    ] {
        refuse_as_malformed(image_with(&format!(r#""{key}":[],"#)));
    }
    for key in ["Digest", "dige\u{17f}t", "SIZE", "URLs"] {
        let descriptor = descriptor("x").replace("\"size\"", &format!("\"{key}\":1,\"size\""));
        refuse_as_malformed(format!(r#"{{"schemaVersion":2,"config":{descriptor}}}"#));
    }
}

#[test]
fn header_and_body_must_name_the_same_type() {
    let error = refuse(image_with(""), Some(INDEX));
    assert_eq!(
        error,
        ManifestError::MediaTypeMismatch {
            declared: MediaType::OCI_IMAGE_INDEX,
            stated: MediaType::OCI_IMAGE_MANIFEST,
        }
    );
    assert_eq!((error.status(), error.code()), (400, ErrorCode::ManifestInvalid));
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    assert!(matches!(
        refuse(image_with(""), Some(docker)),
        ManifestError::MediaTypeMismatch { .. }
    ));
    assert!(matches!(
        refuse(image_with(""), Some("text/plain")),
        ManifestError::MediaTypeMismatch { .. }
    ));
    assert_eq!(
        refuse(image_with(""), Some("manifest")),
        ManifestError::ContentTypeInvalid
    );
    assert_eq!(
        refuse(image_with(""), Some("a/b\r\nX: y")),
        ManifestError::ContentTypeInvalid
    );
}

#[test]
fn an_image_that_is_also_an_index_is_refused() {
    for more in [
        r#""manifests":[],"#.to_owned(),
        format!(r#""manifests":[{}],"#, descriptor("m")),
    ] {
        assert_eq!(refuse_as_invalid(image_with(&more)), ManifestError::Ambiguous);
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"layers":[{}]}}"#,
        descriptor("l")
    );
    assert_eq!(refuse_as_invalid(index), ManifestError::Ambiguous);
    assert!(Manifest::parse(image_with("\"manifests\":null,").into(), Some(IMAGE)).is_ok());
}

#[test]
fn a_known_type_must_have_its_form() {
    let no_config = format!(r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","layers":[]}}"#);
    assert_eq!(
        refuse_as_invalid(no_config),
        ManifestError::MissingField { field: "config" }
    );
    let no_manifests = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}"}}"#);
    assert_eq!(
        refuse_as_invalid(no_manifests),
        ManifestError::MissingField { field: "manifests" }
    );
    let image_as_index = image_with("").replace(IMAGE, INDEX);
    assert_eq!(
        refuse_as_invalid(image_as_index),
        ManifestError::MissingField { field: "manifests" }
    );
    let foreign = r#"{"schemaVersion":2,"mediaType":"application/vnd.example+json","blobs":[]}"#;
    assert!(matches!(
        refuse_as_invalid(foreign),
        ManifestError::Formless { .. }
    ));
}

#[test]
fn other_schema_versions_are_refused() {
    let with_version = |version: &str| image_with("").replace("\"schemaVersion\":2,", version);
    for version in [
        "",
        "\"schemaVersion\":1,",
        "\"schemaVersion\":3,",
        "\"schemaVersion\":null,",
    ] {
        assert_eq!(
            refuse_as_invalid(with_version(version)),
            ManifestError::SchemaVersion,
            "{version}"
        );
    }
    for version in [
        "\"schemaVersion\":\"2\",",
        "\"schemaVersion\":-2,",
        "\"schemaVersion\":2.0,",
    ] {
        refuse_as_malformed(with_version(version));
    }
    let schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let body = image_with("").replace(IMAGE, schema_1);
    assert_eq!(refuse(body, Some(schema_1)), ManifestError::SchemaVersion);
    assert_eq!(
        refuse_as_invalid(image_with("\"fsLayers\":[],")),
        ManifestError::SchemaVersion
    );
}

#[test]
fn bad_descriptors_are_malformed() {
    let good = descriptor("x");
    let digest = Digest::of(Algorithm::Sha256, b"x").to_string();
    for bad in [
        "{}".to_owned(),
        "[]".to_owned(),
        "\"sha256:x\"".to_owned(),
        good.replace("\"size\":1", "\"size\":-1"),
        good.replace("\"size\":1", "\"size\":1.5"),
        good.replace("\"size\":1", "\"size\":\"1\""),
        good.replace("\"size\":1", "\"size\":9223372036854775808"),
        good.replace("\"size\":1", "\"size\":null"),
        good.replace(",\"size\":1", ""),
        good.replace(&digest, &digest.to_uppercase()),
        good.replace(&digest, &digest.replace("sha256:", "sha256:../../")),
        good.replace(&digest, &digest[..70]),
        good.replace(&digest, "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        good.replace("application/octet-stream", ""),
        good.replace("application/octet-stream", "octet stream"),
        good.replace("\"size\":1", "\"size\":1,\"urls\":[1]"),
        good.replace("\"size\":1", "\"size\":1,\"annotations\":{\"a\":1}"),
        good.replace("\"size\":1", "\"size\":1,\"platform\":\"linux\""),
    ] {
        refuse_as_malformed(format!(
            r#"{{"schemaVersion":2,"config":{good},"layers":[{bad}]}}"#
        ));
        refuse_as_malformed(format!(r#"{{"schemaVersion":2,"manifests":[{bad}]}}"#));
        if bad != "{}" {
            refuse_as_malformed(image_with(&format!("\"subject\":{bad},")));
        }
    }
    refuse_as_malformed(format!(
        r#"{{"schemaVersion":2,"config":{good},"layers":[null]}}"#
    ));
    refuse_as_malformed(format!(r#"{{"schemaVersion":2,"config":{good},"layers":{{}}}}"#));
}

#[test]
fn a_message_does_not_repeat_the_input() {
    let secret = "s".repeat(1_000_000);
    let error = refuse(image_with(&format!(r#""annotations":"{secret}","#)), None).to_string();
    assert!(error.len() < 400 && error.contains("at line 1 column"), "{error}");
}
