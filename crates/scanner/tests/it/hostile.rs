//! Images that want to harm whoever looks into them: each ends with its class, and leaves nothing behind.

use std::io::{Cursor, Write as _};

use serde_json::json;

use super::images::{Image, Layer, gzip, planted, sha256, tar};
use super::planted::database;
use super::program::{Machine, RealTools};

fn empty_files(count: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    for at in 0..count {
        header.set_path(format!("f{at}")).unwrap();
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An archive of `content` under so many names.
fn jar_of(names: usize, content: &[u8]) -> Vec<u8> {
    let mut jar = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for at in 0..names {
        jar.start_file(format!("lib-{at}-1.0.jar"), options).unwrap();
        jar.write_all(content).unwrap();
    }
    jar.finish().unwrap().into_inner()
}

#[tokio::test]
async fn a_hostile_image_ends_with_its_class_and_leaves_nothing() {
    let Some(tools) = RealTools::find() else { return };
    let mut machine = Machine::new(&tools);
    machine.set("SCANNER_VULN_ENABLED", "false");
    let zeros = tar(&[("zeros", &vec![0; 80 << 20])]);
    let one = || Layer::of(&[("a", b"a")]);
    let mut many = vec![one(); 513];
    many[0] = Layer::of(&[("b", b"b")]);
    let truncated = {
        let archive = tar(&[("a", &vec![7; 100_000])]);
        let packed = gzip(&archive);
        Layer {
            packed: packed[..packed.len() / 2].to_vec(),
            diff_id: sha256(&archive),
            ..one()
        }
    };
    let cases: Vec<(&str, Image, &str)> = vec![
        ("gzip-bomb", Image::of(&[Layer::gzip(&zeros)]), "too-large:ratio"),
        ("zstd-bomb", Image::of(&[Layer::zstd(&zeros)]), "too-large:ratio"),
        (
            "entries",
            Image::of(&[Layer::zstd(&empty_files(500_001))]),
            "too-large:entries",
        ),
        ("layers", Image::of(&many), "too-large:layers"),
        (
            "path",
            Image::of(&[Layer::of(&[(&"d/".repeat(3000), b"")])]),
            "too-large:path",
        ),
        (
            "swapped",
            planted().with_swapped(0, planted().blobs[1].1.clone()),
            "digest-mismatch",
        ),
        (
            "size",
            Image::edited(&[one()], |_, manifest| {
                manifest["layers"][0]["size"] = json!(7);
            }),
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
        ("truncated", Image::of(&[truncated]), "media-type"),
        (
            "no-archive",
            Image::of(&[Layer {
                packed: vec![7; 4096],
                diff_id: sha256(&[7; 4096]),
                ..one()
            }]),
            "media-type",
        ),
        (
            "foreign",
            Image::edited(&[one()], |_, manifest| {
                manifest["layers"][0]["mediaType"] =
                    json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
            }),
            "media-type",
        ),
        (
            "config",
            Image::edited(&[one()], |config, _| {
                config["padding"] = json!("x".repeat(5 << 20));
            }),
            "too-large:config",
        ),
        (
            "promised",
            Image::edited(&[one()], |_, manifest| {
                manifest["layers"][0]["size"] = json!(1_u64 << 50);
            }),
            "too-large:packed",
        ),
    ];
    for (name, image, class) in cases {
        let error = machine.scan(&image.write(&machine.path(name)), &[]).unwrap_err();
        assert!(error.contains(&format!("error: {class}")), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_image_of_odd_but_legal_content_is_listed() {
    let Some(tools) = RealTools::find() else { return };
    let mut machine = Machine::new(&tools);
    machine.set("SCANNER_VULN_ENABLED", "false");
    let status = b"Package: \x1b[31mred\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nDescription: x\n\n";
    let mut archive = tar::Builder::new(Vec::new());
    let mut link = |path: &str, target: &str, kind| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        archive.append_link(&mut header, path, target).unwrap();
    };
    // A loop, and ways out.
    link("loop", "loop", tar::EntryType::Symlink);
    link("out", "../../../../etc/passwd", tar::EntryType::Symlink);
    link("hard", "../../../../etc/shadow", tar::EntryType::Link);
    let mut header = tar::Header::new_gnu();
    header.set_size(status.len() as u64);
    archive
        .append_data(&mut header, "var/lib/dpkg/status", status.as_slice())
        .unwrap();
    let image = Image::of(&[Layer::gzip(&archive.into_inner().unwrap())]);
    let layout = image.write(&machine.path("odd"));
    let result = machine.scan(&layout, &[]).unwrap();
    assert_eq!(result["state"], "sbom-only");
    let table = machine.run(&["scan", "--oci-layout", layout.to_str().unwrap()]);
    assert!(!table.stdout.contains(&0x1b), "{table:?}");
}

#[tokio::test]
async fn an_image_that_unpacks_to_more_than_the_operator_allows_is_refused() {
    let Some(tools) = RealTools::find() else { return };
    let mut machine = Machine::new(&tools);
    machine.set("SCANNER_VULN_ENABLED", "false");
    machine.set("SCANNER_MAX_UNPACKED_MIB", "1");
    let content: Vec<u8> = (0..600 * 1024_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let layers = [Layer::of(&[("a", &content)]), Layer::of(&[("b", &content)])];
    let error = machine
        .scan(&Image::of(&layers).write(&machine.path("two")), &[])
        .unwrap_err();
    assert!(error.contains("too-large:"), "{error}");
    assert!(
        machine
            .scan(&Image::of(&layers[..1]).write(&machine.path("one")), &[])
            .is_ok()
    );
}

#[tokio::test]
async fn archives_in_archives_without_end_cost_their_time_and_the_rest_is_listed() {
    let Some(tools) = RealTools::find() else { return };
    let mut machine = Machine::new(&tools);
    machine.set("SCANNER_JOB_TIMEOUT", "60s");
    let archive = database(&tools.grype, machine.folder.path(), "2026-11-20 10:00:00").await;
    assert!(
        machine
            .run(&["db", "import", archive.to_str().unwrap()])
            .status
            .success()
    );
    let mut jar = jar_of(1, b"x");
    for _ in 0..7 {
        jar = jar_of(16, &jar);
    }
    let mut layers = vec![Layer::of(&[("app/bomb-1.0.jar", &jar)])];
    assert!(layers[0].packed.len() < 100_000, "{}", layers[0].packed.len());
    let status =
        b"Package: plain\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nDescription: x\n\n";
    layers.push(Layer::of(&[("var/lib/dpkg/status", status)]));
    let image = Image::of(&layers).write(&machine.path("jars"));
    let result = machine.scan(&image, &[]).unwrap();
    assert_eq!(
        (&result["state"], &result["packages"]),
        (&json!("partial"), &json!(1))
    );
}
