//! Files that only their owner may read, replaced whole or not at all. Errors name the path.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file operation that failed, and on what.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// `read`, `write`, `lock` …
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// Who may read a file that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The owner alone (0600), whatever it was before.
    Owner,
    /// As before; the owner alone when it is new.
    Kept,
    /// Every user may read and run it (0755).
    Executable,
}

/// The content of a text file, `None` when there is no such file.
pub fn read_if_exists(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FileError::new("read", path)(error)),
    }
}

/// Makes the folder and its parents where they do not exist, open to the owner alone (0700).
pub fn ensure_folder(folder: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(FileError::new("make the folder", folder))
}

/// Replaces `path` by a file with `content`: written beside it, flushed to the disk, renamed. A symbolic link stays one,
/// and its target is replaced. A reader sees the old content or the new one, also after a crash.
pub fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), FileError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().unwrap_or(Path::new("."));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_new(&temporary, content, access, &target)
        .and_then(|()| fs::rename(&temporary, &target))
        .map_err(FileError::new("write", &target));
    if written.is_err() {
        // The error that counts is the one above.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    flush_folder(folder);
    Ok(())
}

fn write_new(temporary: &Path, content: &[u8], access: Access, target: &Path) -> io::Result<()> {
    // Left by a process that was killed and had our number.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = owner_only(OpenOptions::new().write(true).create_new(true)).open(temporary)?;
    file.write_all(content)?;
    set_access(&file, access, target)?;
    file.sync_all()
}

#[cfg(unix)]
fn set_access(file: &File, access: Access, target: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = match access {
        Access::Owner => return Ok(()),
        Access::Kept => match fs::metadata(target) {
            Ok(metadata) => metadata.permissions().mode() & 0o777,
            Err(_) => return Ok(()),
        },
        Access::Executable => 0o755,
    };
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the twin for Unix can fail")]
fn set_access(_file: &File, _access: Access, _target: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Makes the rename itself durable. Windows and some network file systems cannot; the content is safe all the same.
fn flush_folder(folder: &Path) {
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}
