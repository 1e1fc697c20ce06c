//! Finds the AT Protocol interop vectors, which lie beside the checkout or where `ATCR_SUITES` says.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde::de::DeserializeOwned;

/// The vectors' folder; without one, one line on stderr says what is not tested.
fn vectors() -> Option<PathBuf> {
    static SAID: Once = Once::new();
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites");
    let suites = std::env::var_os("ATCR_SUITES").map_or(beside, PathBuf::from);
    let folder = suites.join("atproto-interop-tests");
    if folder.is_dir() {
        return Some(folder);
    }
    // Not `eprintln!`: the test runner would keep it to itself.
    SAID.call_once(|| {
        let _ = writeln!(
            io::stderr(),
            "SKIPPED: the AT Protocol interop vectors (syntax, crypto, data model, lexicon) are not at {}; set ATCR_SUITES",
            folder.display()
        );
    });
    None
}

/// The lines of a text file of vectors, comments and empty lines left out. White space at the ends counts.
pub(crate) fn lines(file: &str) -> Vec<String> {
    let Some(folder) = vectors() else {
        return Vec::new();
    };
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty(), "{file} holds no vectors");
    lines
}

/// A JSON file of vectors.
pub(crate) fn json<T: DeserializeOwned>(file: &str) -> Option<T> {
    let text = fs::read_to_string(vectors()?.join(file)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}
