//! One secret in one file that only its owner may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

/// No secret kept this way is longer.
const MAX_FILE_LEN: u64 = 16 * 1024;
const GROUP_OR_WORLD: u32 = 0o077;

/// A secret's file cannot be used. No variant carries its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read or written, or other users may read it.
    #[error("key file {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file holds something else than was expected. It is never overwritten.
    #[error("key file {path} does not hold {expected}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The file holds the RSA key of the original's AppView, with which nothing is signed here.
    #[error(
        "key file {path} holds the RSA key of another AppView, which this one does not sign with. Move the file away \
         (mv {path} {path}.rsa) and start again: a new key is made, and clients ask for new tokens by themselves",
        path = path.display()
    )]
    OriginalKey {
        /// The file.
        path: PathBuf,
    },
}

/// The text of the file at `path`; if there is none, what `generate` makes, written there first with mode 0600.
///
/// Of two processes that both find the file missing, one makes it and the other reads it. Blocks on the disk.
pub(crate) fn load_or_create(
    path: &Path,
    generate: impl FnOnce() -> SecretString,
) -> Result<SecretString, SecretFileError> {
    let io_error = |source| SecretFileError::Io {
        path: path.to_owned(),
        source,
    };
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        answer => return answer.map_err(io_error),
    }
    let secret = generate();
    match create(path, &secret) {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path).map_err(io_error),
        Err(error) => Err(io_error(error)),
    }
}

fn read(path: &Path) -> io::Result<SecretString> {
    let file = File::open(path)?;
    if file.metadata()?.mode() & GROUP_OR_WORLD != 0 {
        let advice = "other users may read it; run chmod 600 on it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, advice));
    }
    let mut text = String::new();
    file.take(MAX_FILE_LEN).read_to_string(&mut text)?;
    Ok(SecretString::from(text))
}

/// Writes and syncs a file beside the target, then links it into place: a reader of the name sees the whole secret,
/// and an existing one is never replaced.
fn create(path: &Path, secret: &SecretString) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", rand::random::<u64>()));
    let staging = path.with_file_name(name);
    let linked = write_synced(&staging, secret).and_then(|()| fs::hard_link(&staging, path));
    let removed = fs::remove_file(&staging);
    linked?;
    removed?;
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, secret: &SecretString) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(secret.expose_secret().as_bytes())?;
    file.sync_all()
}
