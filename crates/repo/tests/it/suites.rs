//! Vectors of others, which lie beside the checkout and not in it.

use std::path::{Path, PathBuf};

/// The folder `name` of the suites: in `$ATCR_SUITES`, else in `shared/suites` beside the checkout. `None`, loudly, if
/// there is none.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let suites = std::env::var_os("ATCR_SUITES").map_or_else(|| root.join("../shared/suites"), PathBuf::from);
    let path = suites.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there; set ATCR_SUITES to the folder of the suites",
        path.display()
    );
    None
}

/// A JSON file of the AT Protocol interop tests.
pub(crate) fn interop_json(file: &str) -> Option<serde_json::Value> {
    let path = find("atproto-interop-tests")?.join(file);
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}
