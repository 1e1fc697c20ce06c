//! Putting a new program in the place of the one that runs.

use std::path::Path;
use std::process::{Command, Stdio};

use super::ReleaseError;
use crate::file::{self, Access, FileError};

/// Replaces `target` by `program`, after seeing that it runs and is of `version`. Atomic: a start of the program
/// meanwhile gets the old one or the new one.
///
/// # Errors
/// [`ReleaseError::DoesNotRun`], [`ReleaseError::File`]
pub fn install(program: &[u8], version: &str, target: &Path) -> Result<(), ReleaseError> {
    let target = std::fs::canonicalize(target).map_err(FileError::new("find", target))?;
    let candidate = target.with_file_name(format!(
        ".docker-credential-atcr.{}{}",
        std::process::id(),
        std::env::consts::EXE_SUFFIX
    ));
    file::replace(&candidate, program, Access::Executable)?;
    let installed = if runs(&candidate, version) {
        swap(&candidate, &target).map_err(ReleaseError::from)
    } else {
        Err(ReleaseError::DoesNotRun)
    };
    if installed.is_err() {
        // The error that counts is the one above.
        let _ = std::fs::remove_file(&candidate);
    }
    installed
}

/// Whether the program starts and says that it is `version`.
fn runs(candidate: &Path, version: &str) -> bool {
    let output = Command::new(candidate)
        .arg("version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        output.status.success()
            && String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .nth(1)
                .is_some_and(|said| said == version)
    })
}

fn swap(candidate: &Path, target: &Path) -> Result<(), FileError> {
    if cfg!(windows) {
        // A running program can be renamed there but not replaced; the next update removes what is left.
        let old = target.with_added_extension("old");
        let _ = std::fs::remove_file(&old);
        std::fs::rename(target, &old).map_err(FileError::new("replace", target))?;
        return std::fs::rename(candidate, target).map_err(|error| {
            let _ = std::fs::rename(&old, target);
            FileError::new("replace", target)(error)
        });
    }
    std::fs::rename(candidate, target).map_err(FileError::new("replace", target))
}
