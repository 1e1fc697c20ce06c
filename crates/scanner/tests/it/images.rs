//! Images made by hand, in layouts on the disk.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use atcr_oci::{Algorithm, Digest};
use serde_json::{Value, json};

pub(crate) const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const ZSTD_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A layer as it is stored, and what it is said to be.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) media_type: &'static str,
    pub(crate) packed: Vec<u8>,
    pub(crate) diff_id: Digest,
}

/// An image in memory.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) manifest: Value,
    pub(crate) digest: Digest,
    pub(crate) blobs: Vec<(Digest, Vec<u8>)>,
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Layer {
    pub(crate) fn gzip(archive: &[u8]) -> Self {
        Self {
            media_type: GZIP_LAYER,
            packed: gzip(archive),
            diff_id: sha256(archive),
        }
    }

    pub(crate) fn zstd(archive: &[u8]) -> Self {
        Self {
            media_type: ZSTD_LAYER,
            packed: zstd::stream::encode_all(archive, 1).unwrap(),
            diff_id: sha256(archive),
        }
    }

    pub(crate) fn of(entries: &[(&str, &[u8])]) -> Self {
        Self::gzip(&tar(entries))
    }
}

impl Image {
    pub(crate) fn of(layers: &[Layer]) -> Self {
        Self::edited(layers, |_, _| {})
    }

    /// An image whose config and manifest are changed before they are hashed.
    pub(crate) fn edited(layers: &[Layer], edit: impl FnOnce(&mut Value, &mut Value)) -> Self {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let mut config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["SECRET_OF_THE_IMAGE=hunter2"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let mut manifest = manifest_of(layers);
        edit(&mut config, &mut manifest);
        Self::whole(layers, config.to_string().into_bytes(), manifest)
    }

    /// An image with these bytes for a config.
    pub(crate) fn with_config(layers: &[Layer], config: &[u8]) -> Self {
        Self::whole(layers, config.to_vec(), manifest_of(layers))
    }

    fn whole(layers: &[Layer], config: Vec<u8>, mut manifest: Value) -> Self {
        manifest["config"]["digest"] = json!(sha256(&config).as_str());
        manifest["config"]["size"] = json!(config.len());
        let bytes = manifest.to_string().into_bytes();
        let digest = sha256(&bytes);
        let mut blobs: Vec<(Digest, Vec<u8>)> = layers
            .iter()
            .map(|layer| (sha256(&layer.packed), layer.packed.clone()))
            .collect();
        blobs.push((sha256(&config), config));
        blobs.push((digest.clone(), bytes));
        Self {
            manifest,
            digest,
            blobs,
        }
    }

    pub(crate) fn manifest_bytes(&self) -> Vec<u8> {
        self.manifest.to_string().into_bytes()
    }

    /// Puts other bytes under a layer's digest.
    pub(crate) fn with_swapped(mut self, layer: usize, bytes: Vec<u8>) -> Self {
        self.blobs[layer].1 = bytes;
        self
    }

    /// Writes the image as a layout.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in &self.blobs {
            fs::write(blobs.join(digest.hex()), bytes).unwrap();
        }
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": self.manifest["mediaType"],
                "digest": self.digest.as_str(),
                "size": self.manifest_bytes().len(),
            }],
        });
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        folder.to_owned()
    }
}

fn manifest_of(layers: &[Layer]) -> Value {
    let descriptors = layers.iter().map(|layer| {
        json!({
            "mediaType": layer.media_type,
            "digest": sha256(&layer.packed).as_str(),
            "size": layer.packed.len(),
        })
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json"},
        "layers": descriptors.collect::<Vec<_>>(),
    })
}

const OS_RELEASE: &[u8] =
    b"ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n";

const STATUS: &[u8] = b"Package: planted-deb\nStatus: install ok installed\nPriority: optional\nMaintainer: none\nArchitecture: amd64\nSource: planted-src (1.0-1)\nVersion: 1.0-1+b1\nDescription: planted\n\n";

const METADATA: &[u8] = b"Metadata-Version: 2.1\nName: planted-py\nVersion: 1.0.0\nLicense: MIT\n";

const RECORD: &[u8] = b"planted_py-1.0.0.dist-info/METADATA,,\nplanted_py-1.0.0.dist-info/RECORD,,\n";

/// An image with a Debian and a Python package in which the planted database finds something, in two layers.
pub(crate) fn planted() -> Image {
    Image::of(&planted_layers())
}

/// Its layers.
pub(crate) fn planted_layers() -> [Layer; 2] {
    let base = Layer::of(&[("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", STATUS)]);
    let python = "usr/lib/python3/dist-packages/planted_py-1.0.0.dist-info";
    let top = Layer::zstd(&tar(&[
        (&format!("{python}/METADATA"), METADATA),
        (&format!("{python}/RECORD"), RECORD),
    ]));
    [base, top]
}
