//! The files that say who the hold is. All are for their owner only.
//!
//! | File | Says |
//! |---|---|
//! | `did.txt` | the DID, if it is a did:plc |
//! | `signing.key` | the key that signs the repository |
//! | `signing.key.next` | the intent to change it: the key that will |
//! | `signing.key.<end of its public key>.old` | one that did |
//! | `rotation.key` | the key that may change the DID |
//! | `first-start` | the intent to make the hold; gone once it is made |

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::syntax::Did;
use atcr_hold_pds::HoldRepo;

use super::IdentityError;

const DID_FILE: &str = "did.txt";
const FIRST_START: &str = "first-start";
/// A DID has at most 2048 bytes.
const MAX_DID_FILE: u64 = 4096;

/// What a data folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FolderState {
    /// Nothing that makes a hold is there.
    New,
    /// A first start, or a recovery, was begun and did not end.
    Begun,
    /// A hold.
    Whole,
}

/// The files.
#[derive(Clone, Debug)]
pub(crate) struct IdentityFolder {
    data_dir: PathBuf,
    repo_dir: PathBuf,
    database: PathBuf,
    key_path: PathBuf,
}

impl IdentityFolder {
    pub(crate) fn new(data_dir: &Path, repo_dir: PathBuf, database: PathBuf, key_path: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            repo_dir,
            database,
            key_path: key_path.to_owned(),
        }
    }

    pub(crate) fn key_path(&self) -> &Path {
        &self.key_path
    }

    /// What the folder is.
    ///
    /// # Errors
    /// [`IdentityError::Incomplete`] for a hold of which a part is missing: nothing becomes new on its own.
    pub(crate) fn state(&self) -> Result<FolderState, IdentityError> {
        if exists(&self.data_dir.join(FIRST_START))? {
            return Ok(FolderState::Begun);
        }
        let has_repo = self.has_repo()?;
        let has_key = exists(&self.key_path)?;
        // A key elsewhere may have been put there for the first start.
        let has_own_key = has_key && self.key_path.starts_with(&self.data_dir);
        let has_rest = exists(&self.database)? || exists(&self.data_dir.join(DID_FILE))?;
        match (has_repo, has_key) {
            (true, true) => Ok(FolderState::Whole),
            (false, _) if !has_own_key && !has_rest => Ok(FolderState::New),
            (true, false) => Err(self.incomplete(&self.key_path)),
            (false, _) => Err(self.incomplete(&self.repo_dir)),
        }
    }

    /// Whether a repository is there, or a part of one.
    pub(crate) fn has_repo(&self) -> Result<bool, IdentityError> {
        match fs::read_dir(&self.repo_dir) {
            Ok(mut entries) => Ok(entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lock"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("read", &self.repo_dir, error)),
        }
    }

    /// Whose repository is there.
    pub(crate) fn repo_did(&self) -> Result<Option<String>, IdentityError> {
        HoldRepo::did_in(&self.repo_dir).map_err(IdentityError::Repo)
    }

    pub(crate) fn incomplete(&self, path: &Path) -> IdentityError {
        IdentityError::Incomplete {
            path: path.to_owned(),
            data_dir: self.data_dir.clone(),
        }
    }

    /// Publishes the intent to make a hold of this folder.
    pub(crate) fn begin(&self) -> Result<(), IdentityError> {
        write_durably(&self.data_dir.join(FIRST_START), b"")
    }

    /// The hold is made.
    pub(crate) fn end_begin(&self) -> Result<(), IdentityError> {
        remove(&self.data_dir.join(FIRST_START))
    }

    /// The DID in `did.txt`.
    pub(crate) fn did(&self) -> Result<Option<Did>, IdentityError> {
        let path = self.data_dir.join(DID_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, error)),
        };
        let text = io::read_to_string(io::Read::take(file, MAX_DID_FILE))
            .map_err(|error| failed("read", &path, error))?;
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| IdentityError::DidFile { path })
    }

    /// Writes `did.txt`, unless it says so already.
    pub(crate) fn write_did(&self, did: &Did) -> Result<(), IdentityError> {
        if self.did()?.as_ref() == Some(did) {
            return Ok(());
        }
        write_durably(&self.data_dir.join(DID_FILE), format!("{did}\n").as_bytes())
    }

    pub(crate) fn did_path(&self) -> PathBuf {
        self.data_dir.join(DID_FILE)
    }

    /// The signing key.
    pub(crate) fn signing_key(&self) -> Result<Option<SigningKey>, IdentityError> {
        SigningKey::load(&self.key_path, Curve::K256).map_err(IdentityError::Key)
    }

    /// The signing key, made when there is none.
    pub(crate) fn make_signing_key(&self) -> Result<SigningKey, IdentityError> {
        make_key(&self.key_path)
    }

    fn next_path(&self) -> PathBuf {
        with_suffix(&self.key_path, ".next")
    }

    /// The key that shall take the signing key's place, if one shall.
    pub(crate) fn next_key(&self) -> Result<Option<SigningKey>, IdentityError> {
        SigningKey::load(&self.next_path(), Curve::K256).map_err(IdentityError::Key)
    }

    /// Publishes the intent to change the signing key; one that is there already stands.
    pub(crate) fn make_next_key(&self) -> Result<SigningKey, IdentityError> {
        make_key(&self.next_path())
    }

    /// Gives the intent up: the key is kept aside, since no one can be sure that it was seen nowhere.
    pub(crate) fn give_up_next_key(&self) -> Result<(), IdentityError> {
        let (from, to) = (self.next_path(), with_suffix(&self.key_path, ".refused"));
        fs::rename(&from, to).map_err(|error| failed("rename", &from, error))?;
        sync_folder_of(&from)
    }

    /// The next key is the signing key from now on; the old one is kept beside it. Doing it again does nothing.
    pub(crate) fn promote_next_key(&self) -> Result<(), IdentityError> {
        let next = self.next_path();
        if !exists(&next)? {
            return Ok(());
        }
        if let Some(old) = self.signing_key()? {
            let name = old.public_key().to_multikey();
            let end = name.get(name.len().saturating_sub(8)..).unwrap_or_default();
            let aside = with_suffix(&self.key_path, &format!(".{end}.old"));
            if let Err(error) = fs::hard_link(&self.key_path, &aside)
                && error.kind() != ErrorKind::AlreadyExists
            {
                // A file system without hard links.
                fs::copy(&self.key_path, &aside).map_err(|_| failed("keep", &aside, error))?;
            }
            sync_folder_of(&aside)?;
        }
        fs::rename(&next, &self.key_path).map_err(|error| failed("rename", &next, error))?;
        sync_folder_of(&self.key_path)
    }
}

fn exists(path: &Path) -> Result<bool, IdentityError> {
    path.try_exists().map_err(|error| failed("look at", path, error))
}

/// The key in the file, made when there is none.
pub(crate) fn make_key(path: &Path) -> Result<SigningKey, IdentityError> {
    SigningKey::load_or_create(path, Curve::K256).map_err(IdentityError::Key)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn write_durably(path: &Path, content: &[u8]) -> Result<(), IdentityError> {
    let staging = with_suffix(path, ".new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staging)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&staging, path));
    written.map_err(|error| failed("write", path, error))?;
    sync_folder_of(path)
}

fn remove(path: &Path) -> Result<(), IdentityError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => sync_folder_of(path),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn sync_folder_of(path: &Path) -> Result<(), IdentityError> {
    let folder = folder_of(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| failed("sync", folder, error))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
