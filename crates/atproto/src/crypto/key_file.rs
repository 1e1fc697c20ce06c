//! One private key in one file that only its owner may read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use super::{CryptoError, Curve, SigningKey};

/// The greatest length of a key file, in bytes.
const MAX_FILE_LEN: u64 = 1024;
const GROUP_OR_WORLD: u32 = 0o077;

pub(super) fn load_or_create(path: &Path, curve: Curve) -> Result<SigningKey, CryptoError> {
    let key_file = |source| CryptoError::KeyFile {
        path: path.to_owned(),
        source,
    };
    if let Some(key) = load_if_any(path, curve)? {
        return Ok(key);
    }
    let key = SigningKey::generate(curve);
    match create(path, &key).map_err(key_file)? {
        Created::Here => Ok(key),
        Created::ByAnother => load(path, curve),
    }
}

pub(super) fn load_if_any(path: &Path, curve: Curve) -> Result<Option<SigningKey>, CryptoError> {
    match load(path, curve) {
        Err(CryptoError::KeyFile { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        loaded => loaded.map(Some),
    }
}

fn load(path: &Path, curve: Curve) -> Result<SigningKey, CryptoError> {
    let content = read_private(path).map_err(|source| CryptoError::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    SigningKey::from_file_content(curve, &content).ok_or_else(|| CryptoError::KeyFileContent {
        path: path.to_owned(),
        curve,
    })
}

fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.mode() & GROUP_OR_WORLD != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "other users may read it; run chmod 600 on it",
        ));
    }
    let mut content = Vec::new();
    file.take(MAX_FILE_LEN).read_to_end(&mut content)?;
    Ok(content)
}

enum Created {
    Here,
    ByAnother,
}

/// Writes and syncs a file beside the target, then links it into place: a reader of the name sees a whole key, and a
/// crash leaves none or all of it.
fn create(path: &Path, key: &SigningKey) -> io::Result<Created> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let staging = staging_path(path);
    let written = write_synced(&staging, key.to_file_content().expose_secret().as_bytes());
    let linked = written.and_then(|()| link_new(&staging, path));
    let _ = fs::remove_file(&staging);
    match linked {
        Ok(()) => {
            File::open(folder)?.sync_all()?;
            Ok(Created::Here)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Created::ByAnother),
        Err(error) => Err(error),
    }
}

/// Gives `staging` the name `path` unless something has it.
fn link_new(staging: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(staging, path) {
        // A file system without hard links. Two processes that start at once may then overwrite each other's key.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            if path.try_exists()? {
                Err(io::ErrorKind::AlreadyExists.into())
            } else {
                fs::rename(staging, path)
            }
        }
        linked => linked,
    }
}

fn staging_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", rand::random::<u64>()));
    path.with_file_name(name)
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
