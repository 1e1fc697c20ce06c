//! Images that want to harm whoever looks into them: each ends with its class, or is listed all the same, and leaves nothing behind.

mod archive;
mod listed;
mod refused_archives;
mod refused_manifests;
mod refused_packings;

use std::io::{Cursor, Write as _};

use serde_json::json;

use super::images::{Image, Layer};
use super::planted::database;
use super::program::{Machine, RealTools};

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

/// A machine that lists packages and looks nothing up; `None` where the tools are not there.
fn machine() -> Option<Machine> {
    let mut machine = Machine::new(&RealTools::find()?);
    machine.set("SCANNER_VULN_ENABLED", "false");
    Some(machine)
}

/// Each image ends with its class.
fn refused(cases: &[(&str, Image, &str)]) {
    let Some(machine) = machine() else { return };
    let mut wrong = Vec::new();
    for (name, image, class) in cases {
        match machine.scan(&image.write(&machine.path(name)), &[]) {
            Ok(_) => wrong.push(format!("{name} was listed")),
            Err(error) if error.contains(&format!("error: {class}: ")) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_image_of_odd_but_legal_content_is_listed() {
    let Some(machine) = machine() else { return };
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
    let Some(mut machine) = machine() else { return };
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
