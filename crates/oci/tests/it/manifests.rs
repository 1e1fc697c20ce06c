//! Manifests as clients push them: accepted, read rightly, kept to the byte.

use atcr_oci::{
    Algorithm, Descriptor, Digest, ImageIndex, ImageManifest, Manifest, ManifestKind, MediaType, Platform,
};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::strategies;

fn parse(body: &Value, content_type: Option<&str>) -> Manifest {
    let bytes = Bytes::from(serde_json::to_vec_pretty(body).expect("json"));
    let manifest = Manifest::parse(bytes.clone(), content_type).expect("a manifest");
    assert_eq!(*manifest.bytes(), bytes);
    assert_eq!(
        manifest.digest(Algorithm::Sha256),
        Digest::of(Algorithm::Sha256, &bytes)
    );
    manifest
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(Algorithm::Sha256, content), "size": content.len()})
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EXAMPLE: &str = "application/vnd.example.artifact.v1";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

proptest! {
    #[test]
    fn descriptors_are_read_back(
        digest in strategies::digest(),
        size in 0..=i64::MAX as u64,
        urls in prop::collection::vec(".{0,20}", 0..3),
        annotations in prop::collection::btree_map(".{0,10}", ".{0,10}", 0..4),
        data in prop::option::of("[A-Za-z0-9+/]{0,8}"),
        artifact_type in prop::option::of("[a-z]{1,5}/[a-z]{1,5}"),
        variant in prop::option::of("v[0-9]"),
    ) {
        let platform = Some(Platform { variant, os_features: urls.clone(), ..Platform::new("linux", "arm64") });
        let descriptor =
            Descriptor { urls, annotations, data, artifact_type, platform, ..Descriptor::new(MediaType::OCTET_STREAM, digest, size) };
        let json = serde_json::to_string(&descriptor).expect("json");
        prop_assert_eq!(serde_json::from_str::<Descriptor>(&json).expect("a descriptor"), descriptor);
    }

    #[test]
    fn any_bytes_are_answered_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header in ".{0,30}") {
        let _ = Manifest::parse(bytes.into(), Some(&header));
    }

    #[test]
    fn any_json_of_the_right_keys_is_answered_without_a_panic(
        fields in prop::collection::vec(("schemaVersion|mediaType|config|layers|manifests|subject|artifactType", 0..9_usize), 0..6),
    ) {
        let values = ["2", "null", "[]", "{}", "\"a/b\"", "[{}]", "{\"mediaType\":\"a/b\"}", "-1", "1e9"];
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{}", values[*value])).collect();
        let _ = Manifest::parse(format!("{{{}}}", fields.join(",")).into(), None);
    }
}

#[test]
fn an_image_with_everything() {
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{\"os\":\"linux\"}");
    let layer = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": Digest::of(Algorithm::Sha512, b"layer"),
        "size": 5,
        "data": "bGF5ZXI=",
        "annotations": {"org.example.key": "value"},
    });
    let subject = descriptor(IMAGE, b"another");
    let manifest = parse(
        &json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": config,
            "layers": [layer, layer],
            "subject": subject,
            "annotations": {"org.opencontainers.image.title": "app"},
        }),
        Some(IMAGE),
    );
    assert_eq!(manifest.kind(), ManifestKind::Image);
    assert_eq!(*manifest.media_type(), MediaType::OCI_IMAGE_MANIFEST);
    assert_eq!(manifest.config().expect("config").size, 14);
    assert_eq!(manifest.layers().len(), 2);
    assert_eq!(
        manifest.layers()[0].digest,
        Digest::of(Algorithm::Sha512, b"layer")
    );
    assert_eq!(manifest.layers()[0].data.as_deref(), Some("bGF5ZXI="));
    assert_eq!(manifest.blobs().count(), 3);
    assert!(manifest.manifests().is_empty());
    assert_eq!(
        manifest.subject().expect("subject").digest,
        Digest::of(Algorithm::Sha256, b"another")
    );
    assert_eq!(manifest.annotations()["org.opencontainers.image.title"], "app");
    assert_eq!(
        manifest.artifact_type().as_deref(),
        Some("application/vnd.oci.image.config.v1+json")
    );
}

#[test]
fn an_index_of_images_and_indexes() {
    let manifest = parse(
        &json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "artifactType": EXAMPLE,
            "manifests": [
                {"mediaType": IMAGE, "digest": Digest::of(Algorithm::Sha256, b"1"), "size": 1,
                 "platform": {"os": "linux", "architecture": "arm64", "variant": "v8", "os.features": ["x"]}},
                {"mediaType": IMAGE, "digest": Digest::of(Algorithm::Sha256, b"2"), "size": 1,
                 "artifactType": EXAMPLE, "platform": null},
                {"mediaType": INDEX, "digest": Digest::of(Algorithm::Sha256, b"3"), "size": 1,
                 "platform": {"os": "", "architecture": ""}},
            ],
        }),
        Some(INDEX),
    );
    assert_eq!(manifest.kind(), ManifestKind::Index);
    assert_eq!(manifest.manifests().len(), 3);
    let platform = manifest.manifests()[0].platform.as_ref().expect("platform");
    assert_eq!(platform.to_string(), "linux/arm64/v8");
    assert_eq!(manifest.manifests()[1].artifact_type.as_deref(), Some(EXAMPLE));
    assert_eq!(manifest.artifact_type().as_deref(), Some(EXAMPLE));
    assert!(manifest.config().is_none() && manifest.layers().is_empty());
}

#[test]
fn an_index_without_an_artifact_type_has_none() {
    let manifest = parse(
        &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "artifactType": ""}),
        None,
    );
    assert_eq!(manifest.artifact_type(), None);
    assert_eq!(
        manifest
            .referrer_descriptor(Digest::of(Algorithm::Sha256, b""))
            .artifact_type,
        None
    );
}

#[test]
fn artifacts_of_any_kind() {
    let config = json!({
        "mediaType": EMPTY,
        "digest": Digest::of(Algorithm::Sha256, b"{}"),
        "size": 2,
        "data": "e30=",
    });
    let blob = descriptor("text/spdx; charset=utf-8", b"anything");
    let stated = parse(
        &json!({
            "schemaVersion": 2, "mediaType": IMAGE, "artifactType": EXAMPLE, "config": config, "layers": [blob],
        }),
        Some(IMAGE),
    );
    assert_eq!(stated.artifact_type().as_deref(), Some(EXAMPLE));
    assert_eq!(stated.layers()[0].media_type.essence(), "text/spdx");

    let by_config = parse(
        &json!({
            "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("application/vnd.cncf.helm.config.v1+json", b"{}"),
            "layers": [blob],
        }),
        Some(IMAGE),
    );
    assert_eq!(
        by_config.artifact_type().as_deref(),
        Some("application/vnd.cncf.helm.config.v1+json")
    );

    let referrer = stated.referrer_descriptor(stated.digest(Algorithm::Sha256));
    assert_eq!(referrer.artifact_type.as_deref(), Some(EXAMPLE));
    assert_eq!(referrer.size, stated.size());
}

#[test]
fn lists_that_are_null_absent_or_empty_are_empty() {
    let config = descriptor(EMPTY, b"{}");
    for layers in [json!({"layers": []}), json!({"layers": null}), json!({})] {
        let mut body = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "annotations": null, "subject": null});
        body.as_object_mut()
            .expect("object")
            .extend(layers.as_object().expect("object").clone());
        let manifest = parse(&body, Some(IMAGE));
        assert!(manifest.layers().is_empty() && manifest.subject().is_none());
    }
}

#[test]
fn unknown_fields_are_kept_in_the_bytes_and_passed_over() {
    let manifest = parse(
        &json!({
            "schemaVersion": 2, "mediaType": INDEX, "org.EXAMPLE": "x", "nested": {"a": [[1, 2.5e300, true, null]]},
            "manifests": [{
                "mediaType": IMAGE, "digest": Digest::of(Algorithm::Sha256, b"1"), "size": 1, "more": {"x": []},
                "platform": {"os": "linux", "architecture": "amd64", "features": ["sse4"]},
            }],
        }),
        Some(INDEX),
    );
    assert_eq!(manifest.manifests().len(), 1);
}

#[test]
fn whitespace_and_key_order_survive() {
    let text = format!(
        "\n{{ \"layers\" : [ ],\r\n\t\"config\":{},\"schemaVersion\":2}}  \n",
        descriptor(EMPTY, b"{}")
    );
    let manifest = Manifest::parse(Bytes::from(text.clone()), Some(IMAGE)).expect("a manifest");
    assert_eq!(manifest.bytes(), text.as_bytes());
}

#[test]
fn the_media_type_comes_from_body_header_or_form() {
    let config = descriptor(EMPTY, b"{}");
    let image = json!({"schemaVersion": 2, "config": config, "layers": []});
    let index = json!({"schemaVersion": 2, "manifests": []});
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let cases = [
        (&image, None, IMAGE),
        (&index, None, INDEX),
        (&image, Some("application/json"), IMAGE),
        (&index, Some(""), INDEX),
        (&image, Some(docker), docker),
        (
            &image,
            Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            IMAGE,
        ),
    ];
    for (body, header, expected) in cases {
        assert_eq!(parse(body, header).media_type().as_str(), expected);
    }
    let mut stated = image;
    stated["mediaType"] = json!(docker);
    assert_eq!(parse(&stated, None).media_type().as_str(), docker);
    assert_eq!(
        parse(&stated, Some(&docker.to_uppercase())).media_type().as_str(),
        docker
    );
    stated["mediaType"] = json!("");
    assert_eq!(parse(&stated, Some(docker)).media_type().as_str(), docker);
}

#[test]
fn manifests_of_an_unknown_type_are_accepted_in_a_known_form() {
    let foreign = "application/vnd.example.manifest.v3+json";
    let index = parse(
        &json!({"schemaVersion": 2, "mediaType": foreign, "manifests": []}),
        Some(foreign),
    );
    assert_eq!(
        (index.kind(), index.media_type().as_str()),
        (ManifestKind::Index, foreign)
    );
    let image = parse(
        &json!({"schemaVersion": 2, "layers": [descriptor("a/b", b"x")]}),
        Some(foreign),
    );
    assert_eq!(image.kind(), ManifestKind::Image);
    assert_eq!(image.artifact_type(), None);
}

#[test]
fn a_manifest_almost_as_large_as_allowed_is_accepted() {
    let annotations: serde_json::Map<String, Value> = (0..390)
        .map(|n| (format!("large-annotation-{n}"), json!("A".repeat(10_000))))
        .collect();
    let body = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(EMPTY, b"{}"), "layers": [], "annotations": annotations,
    });
    assert_eq!(parse(&body, Some(IMAGE)).annotations().len(), 390);
}

#[test]
fn manifests_are_made_from_their_parts() {
    let empty = Descriptor::new(MediaType::OCI_EMPTY, Digest::of(Algorithm::Sha256, b"{}"), 2);
    let image = ImageManifest::new(empty.clone(), vec![empty.clone()]);
    let manifest = Manifest::from_image(&image).expect("a manifest");
    assert_eq!(manifest.as_image(), Some(&image));
    let index = ImageIndex {
        subject: Some(empty.clone()),
        ..ImageIndex::new(vec![empty])
    };
    let manifest = Manifest::from_index(&index).expect("a manifest");
    assert_eq!(manifest.as_index(), Some(&index));
}
