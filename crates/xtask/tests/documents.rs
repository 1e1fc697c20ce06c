//! The documents name files that exist.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The alternatives of `a/{b,c}.rs`, or the path itself.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let Some((names, after)) = rest.split_once('}') else {
        return vec![path.to_owned()];
    };
    names
        .split(',')
        .map(|name| format!("{before}{name}{after}"))
        .collect()
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let missing: Vec<String> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| span.contains("/src") || span.contains("/templates") || span.contains("/static"))
        .flat_map(alternatives)
        .filter(|path| {
            let path = path.strip_prefix("crates/").unwrap_or(path);
            !root().join("crates").join(path).exists()
        })
        .collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md names {missing:#?}");
}

#[test]
fn every_relative_link_of_the_documents_leads_somewhere() {
    let documents = fs::read_dir(root().join("docs")).unwrap();
    let decisions = fs::read_dir(root().join("docs/decisions")).unwrap();
    let files = documents
        .chain(decisions)
        .map(|entry| entry.unwrap().path())
        .chain([root().join("README.md")])
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut broken = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            if !file.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}
