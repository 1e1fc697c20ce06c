//! Archives whose headers want to harm.

use tar::EntryType;

use super::super::images::{Image, Layer};
use super::archive::{Archive, record};
use super::refused;

fn empty_files(count: usize) -> Layer {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    for at in 0..count {
        header.set_path(format!("f{at}")).unwrap();
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    Layer::zstd(&builder.into_inner().unwrap())
}

#[test]
fn an_archive_whose_headers_want_to_harm_ends_with_its_class() {
    let archive = Archive::default;
    let long = "d/".repeat(3000);
    let big = 8 << 20;
    let mut wrong_checksum = archive().file(b"a", b"a").end();
    wrong_checksum[0] = b'b';
    let within = archive().file(b"a", &[7; 5000]).open();
    let extended = archive().extended(&record("comment", &"x".repeat(3000))).open();
    let archives = [
        (
            "path",
            archive().entry(b"long", EntryType::GNULongName, long.as_bytes()),
            "too-large:path",
        ),
        (
            "path-extended",
            archive().extended(&record("path", &long)),
            "too-large:path",
        ),
        (
            "link-target",
            archive().entry(b"long", EntryType::GNULongLink, long.as_bytes()),
            "too-large:path",
        ),
        (
            "link-target-extended",
            archive().extended(&record("linkpath", &long)),
            "too-large:path",
        ),
        (
            "name-that-claims-much",
            archive().claiming(b"long", EntryType::GNULongName, big, b"x"),
            "too-large:path",
        ),
        (
            "attributes",
            archive().extended(&record("SCHILY.xattr.user.x", &"x".repeat(2 << 20))),
            "too-large:header",
        ),
        (
            "attributes-that-claim-much",
            archive().claiming(b"pax", EntryType::XHeader, 1 << 50, b"x"),
            "too-large:header",
        ),
        (
            "attributes-of-all",
            archive().entry(b"pax", EntryType::XGlobalHeader, &vec![b'x'; 2 << 20]),
            "too-large:header",
        ),
        (
            "record-longer-than-its-header",
            archive().extended(b"999 path=x\n"),
            "media-type",
        ),
        (
            "record-of-no-length",
            archive().extended(b"0 path=x\n"),
            "media-type",
        ),
        (
            "extended-size-that-is-none",
            archive().extended(&record("size", "-1")),
            "media-type",
        ),
        (
            "extended-size-beyond-numbers",
            archive()
                .extended(&record("size", &u64::MAX.to_string()))
                .file(b"a", b"a"),
            "media-type",
        ),
        (
            "extended-size-of-petabytes",
            archive()
                .extended(&record("size", &(1_u64 << 50).to_string()))
                .file(b"a", b"a"),
            "media-type",
        ),
        (
            "size-of-petabytes",
            archive().claiming(b"a", EntryType::Regular, 1 << 50, b"a"),
            "media-type",
        ),
        (
            "size-below-nothing",
            archive().header(|header| header.as_old_mut().size = [0xff; 12]),
            "media-type",
        ),
        (
            "size-that-is-none",
            archive().header(|header| header.as_old_mut().size = *b"many bytes  "),
            "media-type",
        ),
        (
            "folder-with-content",
            archive()
                .header(|header| {
                    header.set_path("folder/").unwrap();
                    header.set_size(512);
                    header.as_old_mut().linkflag[0] = 0;
                })
                .content(&[7; 512]),
            "media-type",
        ),
    ];
    let archives = archives.map(|(name, archive, class)| (name, archive.end(), class));
    let sparse = archive()
        .header(|header| {
            header.set_entry_type(EntryType::GNUSparse);
            if let Some(gnu) = header.as_gnu_mut() {
                gnu.isextended[0] = 1;
            }
        })
        .content(&vec![1; 100 * 512]);
    let broken = [
        ("sparse-without-end", sparse.open(), "media-type"),
        ("checksum", wrong_checksum, "media-type"),
        ("ends-within-an-entry", within[..2000].to_vec(), "media-type"),
        ("ends-within-attributes", extended[..2000].to_vec(), "media-type"),
        ("ends-within-a-header", within[..300].to_vec(), "media-type"),
    ];
    let mut cases: Vec<_> = archives
        .into_iter()
        .chain(broken)
        .map(|(name, archive, class)| (name, Image::of(&[Layer::gzip(&archive)]), class))
        .collect();
    cases.push(("entries", Image::of(&[empty_files(500_001)]), "too-large:entries"));
    // As many as one image may have, and more than that in two layers.
    cases.push((
        "entries-of-all-layers",
        Image::of(&[empty_files(250_000), empty_files(250_001)]),
        "too-large:entries",
    ));
    // The root is a folder, and stays. Syft has no image without it.
    for (name, entry) in [
        ("whiteout-of-the-root", ".wh.."),
        ("whiteout-of-the-root-from-below", "var/.wh..."),
        ("root-that-is-a-file", "/"),
        ("file-without-a-name", ""),
    ] {
        let top = archive().file(entry.as_bytes(), b"").end();
        cases.push((name, Image::of(&[empty_files(1), Layer::gzip(&top)]), "tool"));
    }
    refused(&cases);
}
