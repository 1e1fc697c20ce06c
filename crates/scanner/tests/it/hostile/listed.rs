//! Images that want to harm whoever unpacks them, and hide no package from who does not.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tar::EntryType;

use super::super::images::{Image, Layer, gzip, sha256, tar};
use super::archive::Archive;
use super::machine;

const STATUS: &str =
    "Package: plain\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nDescription: x\n\n";

fn plain() -> Layer {
    Layer::of(&[("var/lib/dpkg/status", STATUS.as_bytes())])
}

/// A sparse entry that claims a petabyte and has nothing.
fn sparse(archive: Archive, name: &str) -> Archive {
    archive.header(|header| {
        header.set_path(name).unwrap();
        header.set_entry_type(EntryType::GNUSparse);
        if let Some(gnu) = header.as_gnu_mut() {
            gnu.realsize = *b"77777777777\0";
        }
    })
}

fn ways_out(canary: &str) -> Archive {
    let mut archive = Archive::default();
    for up in ["../../../../../../..", "", "usr/../../../../../../../..", "./.."] {
        archive = archive.file(format!("{up}{canary}").as_bytes(), b"was here");
    }
    archive
        .link("out", "../../../../../../../../tmp")
        .file(b"out/through-a-link", b"was here")
        .link("root", "/")
        .link("var/lib/rpm", "/dev/zero")
        .link("proc", "/proc/self/root")
}

fn devices() -> Archive {
    [EntryType::Char, EntryType::Block, EntryType::Fifo]
        .into_iter()
        .zip([
            "dev/mem",
            "dev/sda",
            "usr/lib/python3/dist-packages/a.dist-info/METADATA",
        ])
        .fold(Archive::default(), |archive, (kind, name)| {
            archive.claiming(name.as_bytes(), kind, 1 << 40, b"").claiming(
                format!("{name}.jar").as_bytes(),
                kind,
                0,
                b"",
            )
        })
}

fn whiteouts() -> Archive {
    let mut archive = Archive::default();
    for _ in 0..1000 {
        archive = archive
            .file(b".wh.", b"")
            .file(b"etc/.wh.", b"")
            .file(b"etc/.wh..wh..opq", b"")
            .file(b"etc/.wh.passwd", b"")
            .file(b"etc/.wh..wh.plnk", b"");
    }
    archive
}

fn odd_names() -> Archive {
    Archive::default()
        .file(b"\xff\xfe\x80", b"x")
        .file(b"usr/lib/\xc3\x28/package.json", b"{\"name\":\"\xff\"}")
        .file(b"new\nline\x1b[31m\x07", b"x")
        .file("\u{202e}txt.exe".as_bytes(), b"x")
}

fn same_name() -> Archive {
    let mut archive = Archive::default();
    for _ in 0..3000 {
        archive = archive
            .file(b"same", b"x")
            .entry(b"same/", EntryType::Directory, b"")
            .link("same", "same");
    }
    archive
}

fn links() -> Archive {
    let mut archive = Archive::default();
    for at in 0..2000 {
        archive = archive.link(&format!("chain/l{at}"), &format!("l{}", at + 1));
    }
    // Each folder is in itself, twice.
    for name in ["a", "b"] {
        archive = archive
            .entry(format!("{name}/").as_bytes(), EntryType::Directory, b"")
            .link(&format!("{name}/again"), ".")
            .link(&format!("{name}/other"), "../b")
            .link(&format!("{name}/up"), "..");
    }
    archive
}

fn broken_content() -> Archive {
    let mut elf = b"\x7fELF\x02\x01\x01\0".to_vec();
    elf.resize(4096, 0xff);
    let mut database = b"SQLite format 3\0".to_vec();
    database.resize(8192, 0xee);
    let deep = "[".repeat(200_000);
    Archive::default()
        .file(b"bin/elf", &elf)
        .file(b"bin/short-elf", &elf[..6])
        .file(b"var/lib/rpm/rpmdb.sqlite", &database)
        .file(b"var/lib/rpm/Packages", &elf)
        .file(b"lib/apk/db/installed", b"P:\nV:\n\nP:x\n:::\n")
        .file(b"app/package.json", deep.as_bytes())
        .file(b"app/package-lock.json", b"{\"lockfileVersion\": 1e999}")
        .file(b"app/short.jar", b"PK\x03\x04")
        .file(b"app/go.mod", b"module \xff\nrequire (\n")
        .file(b"app/Cargo.lock", b"[[package]]\nname = \"")
        .file(b"etc/os-release", &[0; 4096])
        .file(
            b"usr/lib/python3/dist-packages/b.dist-info/METADATA",
            b"Name: \0\n",
        )
}

/// The packages of a list.
fn names(list: &Path) -> impl Iterator<Item = String> {
    let list: Value = serde_json::from_slice(&fs::read(list).unwrap()).unwrap();
    let packages = list["packages"].as_array().unwrap().clone();
    packages
        .into_iter()
        .map(|package| package["name"].as_str().unwrap().to_owned())
}

#[test]
fn an_image_that_would_harm_who_unpacks_it_is_listed() {
    let Some(machine) = machine() else { return };
    let canary = machine.path("canary");
    let mut deep = String::new();
    for _ in 0..2000 {
        deep.push_str("d/");
    }
    let mut long_line = "Package: long\nDescription: ".to_owned();
    write!(long_line, "{}\n\n{STATUS}", "x".repeat(30 << 20)).unwrap();
    let members = {
        let archive = tar(&[("a", b"a")]);
        let mut packed = gzip(b"").repeat(20_000);
        packed.extend_from_slice(&gzip(&archive));
        Layer {
            packed,
            diff_id: sha256(&archive),
            ..plain()
        }
    };
    let archives = [
        ("ways-out", ways_out(canary.to_str().unwrap())),
        ("devices", devices()),
        ("whiteouts", whiteouts()),
        ("odd-names", odd_names()),
        ("same-name", same_name()),
        ("links", links()),
        ("broken-content", broken_content()),
        ("sparse", sparse(Archive::default(), "app/sparse.bin")),
        (
            "deep",
            Archive::default()
                .entry(b"deep", EntryType::GNULongName, deep.as_bytes())
                .entry(b"d", EntryType::Directory, b""),
        ),
    ];
    let mut cases: Vec<(&str, Vec<Layer>)> = archives
        .into_iter()
        .map(|(name, archive)| (name, vec![plain(), Layer::gzip(&archive.end())]))
        .collect();
    cases.push((
        "no-end",
        vec![plain(), Layer::gzip(&Archive::default().file(b"a", b"a").open())],
    ));
    cases.push((
        "long-line",
        vec![Layer::of(&[("var/lib/dpkg/status", long_line.as_bytes())])],
    ));
    cases.push(("empty-members", vec![plain(), members]));
    cases.push(("same-layer", vec![plain(); 200]));
    let mut wrong = Vec::new();
    for (name, layers) in cases {
        let layout = Image::of(&layers).write(&machine.path(name));
        let list = machine.path("list.json");
        match machine.scan(&layout, &["--spdx", list.to_str().unwrap()]) {
            Ok(result) if result["state"] == "sbom-only" && names(&list).any(|name| name == "plain") => {}
            other => wrong.push(format!("{name}: {other:?}")),
        }
        assert!(!canary.exists(), "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
