//! Manifests and configs that lie.

use serde_json::json;

use super::super::images::{Image, Layer, planted, sha256};
use super::{machine, refused};

fn one() -> Layer {
    Layer::of(&[("a", b"a")])
}

#[test]
fn a_manifest_or_config_that_lies_ends_with_its_class() {
    let mut many = vec![one(); 513];
    many[0] = Layer::of(&[("b", b"b")]);
    let of_type = |media_type: &str| {
        let media_type = media_type.to_owned();
        Image::edited(&[one()], move |_, manifest| {
            manifest["layers"][0]["mediaType"] = json!(media_type);
        })
    };
    let of_size = |size: u64| {
        Image::edited(&[one()], move |_, manifest| {
            manifest["layers"][0]["size"] = json!(size);
        })
    };
    let longer = one().packed.len() as u64 + 1;
    let mut missing = Image::of(&[one()]);
    missing.blobs.remove(0);
    let nested = "[".repeat(100_000);
    refused(&[
        ("layers", Image::of(&many), "too-large:layers"),
        (
            "swapped",
            planted().with_swapped(0, planted().blobs[1].1.clone()),
            "digest-mismatch",
        ),
        ("shorter", of_size(7), "digest-mismatch"),
        ("longer", of_size(longer), "digest-mismatch"),
        ("promised", of_size(1 << 50), "too-large:packed"),
        ("missing", missing, "fetch"),
        (
            "manifest",
            Image::of(&[one()]).with_swapped(2, planted().manifest_bytes()),
            "digest-mismatch",
        ),
        (
            "diff-id",
            Image::of(&[Layer {
                diff_id: sha256(b"something else"),
                ..one()
            }]),
            "digest-mismatch",
        ),
        (
            "fewer-diff-ids",
            Image::edited(&[one()], |config, _| {
                config["rootfs"]["diff_ids"] = json!([]);
            }),
            "digest-mismatch",
        ),
        (
            "more-diff-ids",
            Image::edited(&[one()], |config, _| {
                config["rootfs"]["diff_ids"] = json!(vec![one().diff_id.as_str(); 300]);
            }),
            "digest-mismatch",
        ),
        (
            "foreign",
            of_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            "media-type",
        ),
        ("no-layer", of_type("application/octet-stream"), "media-type"),
        (
            "config",
            Image::edited(&[one()], |config, _| {
                config["padding"] = json!("x".repeat(5 << 20));
            }),
            "too-large:config",
        ),
        (
            "config-behind-a-small-size",
            Image::of(&[one()]).with_swapped(1, vec![b' '; 100 << 20]),
            "digest-mismatch",
        ),
        ("no-config", Image::with_config(&[one()], b"{"), "media-type"),
        (
            "deep-config",
            Image::with_config(
                &[one()],
                format!(r#"{{"rootfs":{{"diff_ids":{nested}"#).as_bytes(),
            ),
            "media-type",
        ),
    ]);
}

#[test]
fn indexes_in_indexes_are_followed_so_far_and_no_further() {
    let Some(machine) = machine() else { return };
    let image = Image::of(&[one()]);
    for (depth, is_followed) in [(3, true), (4, false), (300, false)] {
        let folder = image.write(&machine.path(&format!("depth-{depth}")));
        let index = |digest: &str, media_type: &str, size: usize| {
            json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{"mediaType": media_type, "digest": digest, "size": size}],
            })
            .to_string()
        };
        let manifest = image.manifest["mediaType"].as_str().unwrap();
        let mut outer = index(image.digest.as_str(), manifest, image.manifest_bytes().len());
        for _ in 0..depth {
            let digest = sha256(outer.as_bytes());
            std::fs::write(folder.join("blobs/sha256").join(digest.hex()), &outer).unwrap();
            outer = index(
                digest.as_str(),
                "application/vnd.oci.image.index.v1+json",
                outer.len(),
            );
        }
        std::fs::write(folder.join("index.json"), outer).unwrap();
        match machine.scan(&folder, &[]) {
            Ok(_) => assert!(is_followed, "{depth}"),
            Err(error) => assert!(
                !is_followed && error.contains("error: fetch: ") && error.contains("nested too deep"),
                "{depth}: {error}"
            ),
        }
    }
}
