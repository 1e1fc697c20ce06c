//! Layers that are packed to harm, or packed wrongly.

use std::io::Write as _;

use super::super::images::{Image, Layer, gzip, sha256, tar};
use super::refused;

/// A layer of these stored bytes, which is said to unpack to `archive`.
fn layer(packed: Vec<u8>, archive: &[u8]) -> Layer {
    Layer {
        packed,
        diff_id: sha256(archive),
        ..Layer::gzip(b"")
    }
}

fn zstd_with_window(bytes: &[u8], log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(log).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_layer_that_is_packed_to_harm_or_wrongly_ends_with_its_class() {
    let zeros = tar(&[("zeros", &vec![0; 80 << 20])]);
    let archive = tar(&[("a", &vec![7; 100_000])]);
    let packed = gzip(&archive);
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let mut checksum = packed.clone();
    let at = checksum.len() - 6;
    checksum[at] ^= 1;
    // A name in the header of the gzip stream, which does not end.
    let mut name = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255];
    name.resize(50 << 20, b'n');
    let zstd = zstd::stream::encode_all(&*archive, 1).unwrap();
    let mut skipped = vec![0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 4];
    skipped.resize(1024, 0);
    let cases = [
        ("gzip-bomb", gzip(&zeros), &zeros, "too-large:ratio"),
        (
            "zstd-bomb",
            zstd::stream::encode_all(&*zeros, 1).unwrap(),
            &zeros,
            "too-large:ratio",
        ),
        (
            "bomb-of-members",
            [gzip(&zeros), gzip(&zeros)].concat(),
            &zeros,
            "too-large:ratio",
        ),
        ("gzip-in-gzip", gzip(&packed), &packed, "media-type"),
        ("gzip-truncated", half(&packed), &archive, "media-type"),
        ("gzip-checksum", checksum, &archive, "media-type"),
        (
            "gzip-trailing",
            [packed.as_slice(), b"trailing"].concat(),
            &archive,
            "media-type",
        ),
        ("gzip-name", name, &archive, "media-type"),
        ("zstd-truncated", half(&zstd), &archive, "media-type"),
        (
            "zstd-window",
            zstd_with_window(&archive, 30),
            &archive,
            "media-type",
        ),
        ("zstd-skipped", skipped, &archive, "media-type"),
        ("plain-truncated", half(&archive), &archive, "media-type"),
        ("no-archive", vec![7; 4096], &archive, "media-type"),
    ];
    let cases =
        cases.map(|(name, packed, archive, class)| (name, Image::of(&[layer(packed, archive)]), class));
    refused(&cases);
}
