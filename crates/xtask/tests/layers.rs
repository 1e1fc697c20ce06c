//! A request goes one way through the servers: edge → domain → ports → adapters. What a folder imports shows it.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders, and the crates that nothing in them may name.
const RULES: &[(&[&str], &[&str])] = &[
    // The edge speaks HTTP and reaches stores only through the domain.
    (
        &["appview/src/edge", "hold/src/edge"],
        &[
            "sqlx",
            "reqwest",
            "aws_sdk_s3",
            "atcr_index_sqlite",
            "atcr_index_postgres",
        ],
    ),
    // The domain decides; it neither serves nor connects.
    (
        &[
            "registry/src",
            "sessions/src",
            "hold/src/blobs",
            "hold/src/manifests",
        ],
        &[
            "axum",
            "hyper",
            "sqlx",
            "reqwest",
            "aws_sdk_s3",
            "tower_http",
            "askama",
        ],
    ),
    // What the registry decides and who is signed in are two domains; their servers join them.
    (
        &["registry/src"],
        &["atcr_sessions", "atcr_web", "atcr_appview", "atcr_hold"],
    ),
    (
        &["sessions/src"],
        &[
            "atcr_registry",
            "atcr_oci",
            "atcr_web",
            "atcr_appview",
            "atcr_hold",
        ],
    ),
    // The index's words and ports know no database and no network.
    (
        &["index/src"],
        &[
            "axum",
            "hyper",
            "sqlx",
            "reqwest",
            "aws_sdk_s3",
            "atcr_registry",
            "atcr_sessions",
            "atcr_web",
            "atcr_appview",
            "atcr_hold",
        ],
    ),
    // What fills the index reaches it through its ports.
    (
        &["ingest/src"],
        &[
            "axum",
            "sqlx",
            "atcr_index_sqlite",
            "atcr_index_postgres",
            "atcr_registry",
        ],
    ),
    // What pages read is no page.
    (
        &["appview/src/browse"],
        &[
            "axum",
            "hyper",
            "sqlx",
            "reqwest",
            "askama",
            "atcr_index_sqlite",
            "atcr_index_postgres",
        ],
    ),
    // What pages share belongs to no page, and to no server.
    (
        &["web/src"],
        &[
            "sqlx",
            "reqwest",
            "aws_sdk_s3",
            "atcr_registry",
            "atcr_sessions",
            "atcr_appview",
            "atcr_hold",
        ],
    ),
    // The base of every process knows none of them.
    (
        &["server/src"],
        &[
            "atcr_registry",
            "atcr_sessions",
            "atcr_web",
            "atcr_appview",
            "atcr_hold",
        ],
    ),
    // Vocabulary has no I/O at all, and tokens no framework.
    (
        &["oci/src", "repo/src"],
        &["axum", "hyper", "sqlx", "reqwest", "aws_sdk_s3", "tokio"],
    ),
    (
        &["auth/src"],
        &["axum", "sqlx", "aws_sdk_s3", "atcr_appview", "atcr_hold"],
    ),
    (&["hold-pds/src"], &["axum", "reqwest", "aws_sdk_s3"]),
    // The two servers meet on the wire only.
    (&["appview/src"], &["atcr_hold", "atcr_hold_pds"]),
    (&["hold/src"], &["atcr_appview"]),
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a line names the crate: `use name::…`, or a path `name::…` in code. Comments do not count.
fn names(line: &str, krate: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices(krate).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let is_start = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':' && c != '.');
        is_start && code[at + krate.len()..].starts_with("::")
    })
}

#[test]
fn every_folder_imports_only_what_its_layer_may() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a folder of crates");
    let mut broken = Vec::new();
    for (folders, forbidden) in RULES {
        for folder in *folders {
            let mut files = Vec::new();
            rust_files(&crates.join(folder), &mut files);
            for file in files {
                let is_test = file.file_stem().is_some_and(|stem| stem == "tests")
                    || file.components().any(|part| part.as_os_str() == "tests");
                if is_test {
                    continue;
                }
                let text = fs::read_to_string(&file).expect("a readable file");
                // What tests need is not what the layer needs.
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                for (number, line) in text.lines().enumerate() {
                    for krate in forbidden.iter().filter(|krate| names(line, krate)) {
                        broken.push(format!("{}:{}: {krate}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "wrong way through the layers:\n{}",
        broken.join("\n")
    );
}

#[test]
fn a_crate_is_found_in_code_and_not_in_comments_or_other_names() {
    assert!(names("use axum::Router;", "axum"));
    assert!(names("    let x: axum::Json<u8>;", "axum"));
    assert!(!names("// axum::Router", "axum"));
    assert!(!names("use my_axum::Router;", "axum"));
    assert!(!names("use crate::axum::Router;", "axum"));
}
