//! Files and folders that only their owner may read, for keys and sessions.

use std::io;
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
