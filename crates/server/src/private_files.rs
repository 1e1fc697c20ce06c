//! Files and folders that only their owner may read, for keys and sessions.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Mode of a private file.
pub const FILE_MODE: u32 = 0o600;

/// Mode of a private folder.
pub const FOLDER_MODE: u32 = 0o700;

/// Makes the folder at `path` and those above it, as far as they are missing, for their owner only. A folder that is there keeps its
/// mode: the operator may have given it to a group.
///
/// # Errors
/// The operating system's.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)
}

/// Writes `text` into the file at `path`, for its owner only. With `overwrites` a file that is there gets this content and this mode.
///
/// # Errors
/// `AlreadyExists` for a file that is there, unless `overwrites`; the operating system's.
pub fn write_private_file(path: &Path, text: &str, overwrites: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(FILE_MODE);
    if overwrites {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(path)?;
    let is_file = file.metadata()?.is_file();
    if is_file {
        // One that was there may have been for everybody.
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    file.write_all(text.as_bytes())?;
    // A terminal or a pipe keeps nothing.
    if is_file { file.sync_all() } else { Ok(()) }
}
