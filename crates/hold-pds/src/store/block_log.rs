//! The log: a header that says whose repository it is, then one frame per commit, appended and never changed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::syntax::Did;
use bytes::Bytes;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};

use super::blocks::Location;
use crate::error::RepoError;
use atcr_repo::Block;

const FILE: &str = "blocks.log";
/// Becomes [`FILE`] once it is complete.
const NEW_FILE: &str = "blocks.log.new";
/// `atcr`, then the version of the format.
const MAGIC: [u8; 8] = *b"atcr\0\0\0\x01";
const LOG_ID_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// The open log. Reading takes no lock: what is in the file does not change.
#[derive(Clone, Debug)]
pub(crate) struct BlockLog {
    file: Arc<File>,
    path: Arc<Path>,
    log_id: [u8; LOG_ID_LEN],
    /// Where the first frame begins.
    start: u64,
}

impl BlockLog {
    /// Opens the log in `dir`, or makes one for `did`. Blocks on the disk.
    pub(crate) fn open(dir: &Path, did: &Did) -> Result<Self, RepoError> {
        let path = dir.join(FILE);
        if !path
            .try_exists()
            .map_err(|error| disk("look for", &path, error))?
        {
            create(dir, did)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&path)
            .map_err(|error| disk("open", &path, error))?;
        let mut log = Self {
            file: Arc::new(file),
            path: path.into(),
            log_id: [0; LOG_ID_LEN],
            start: 0,
        };
        let header = log.read_header()?;
        if header.did != did.as_str() {
            return Err(RepoError::OtherDid {
                expected: did.clone(),
                found: header.did,
            });
        }
        log.log_id = header.log_id;
        log.start = header.length;
        Ok(log)
    }

    fn read_header(&self) -> Result<Header, RepoError> {
        let fixed = self.read(0, MAGIC.len() + LOG_ID_LEN + 4)?;
        let header = || {
            let (magic, rest) = fixed.split_at_checked(MAGIC.len())?;
            let (log_id, did_len) = rest.split_at_checked(LOG_ID_LEN)?;
            let did_len = u32::from_le_bytes(did_len.try_into().ok()?);
            (magic == MAGIC && did_len <= 2048).then_some((log_id.try_into().ok()?, did_len as usize))
        };
        let (log_id, did_len) =
            header().ok_or_else(|| self.corrupt("it does not begin like a repository's log"))?;
        let content_len = fixed.len() + did_len;
        let whole = self.read(0, content_len + HASH_LEN)?;
        let (content, hash) = whole.split_at(content_len);
        if Sha256::digest(content).as_slice() != hash {
            return Err(self.corrupt("its header does not match its hash"));
        }
        let did = String::from_utf8_lossy(&content[fixed.len()..]).into_owned();
        Ok(Header {
            log_id,
            did,
            length: whole.len() as u64,
        })
    }

    /// Distinguishes this log from every other one.
    pub(crate) fn log_id(&self) -> &[u8] {
        &self.log_id
    }

    /// Where the first frame begins.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Length of the file. Blocks on the disk.
    pub(crate) fn len(&self) -> Result<u64, RepoError> {
        Ok(self
            .file
            .metadata()
            .map_err(|error| disk("look at", &self.path, error))?
            .len())
    }

    /// Exactly `length` bytes. Blocks on the disk.
    pub(crate) fn read(&self, position: u64, length: usize) -> Result<Vec<u8>, RepoError> {
        let mut bytes = vec![0; length];
        match self.file.read_exact_at(&mut bytes, position) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.corrupt("it is shorter than it should be"))
            }
            Err(error) => Err(disk("read", &self.path, error)),
        }
    }

    /// As [`read`](Self::read), off the async threads.
    pub(crate) async fn read_async(&self, position: u64, length: usize) -> Result<Vec<u8>, RepoError> {
        let log = self.clone();
        blocking(move || log.read(position, length)).await
    }

    /// Blocks, in the order of `locations`, each checked against its name.
    pub(crate) async fn read_blocks(&self, locations: Vec<Location>) -> Result<Vec<Block>, RepoError> {
        if locations.is_empty() {
            return Ok(Vec::new());
        }
        let log = self.clone();
        blocking(move || {
            locations
                .into_iter()
                .map(|location| log.read_block(&location))
                .collect()
        })
        .await
    }

    fn read_block(&self, location: &Location) -> Result<Block, RepoError> {
        let bytes = Bytes::from(self.read(location.position, location.length)?);
        if cid_of(DAG_CBOR, &bytes) != location.cid {
            return Err(self.corrupt(&format!("block {} does not match its hash", location.cid)));
        }
        Ok(Block {
            cid: location.cid,
            bytes,
        })
    }

    /// Appends `bytes` and waits until they are on the disk. Blocks on it.
    pub(crate) fn append(&self, end: u64, bytes: &[u8]) -> Result<(), AppendError> {
        if let Err(error) = (&*self.file).write_all(bytes) {
            let error = disk("append to", &self.path, error);
            // Half a frame must not stay in front of the next one.
            return Err(match self.truncate(end) {
                Ok(()) => AppendError::Undone(error),
                Err(_) => AppendError::Unknown(error),
            });
        }
        // After a failed sync the kernel may have dropped the pages and call the next one a success.
        self.file
            .sync_data()
            .map_err(|error| AppendError::Unknown(disk("sync", &self.path, error)))
    }

    /// Cuts the log off at `end`. Blocks on the disk.
    pub(crate) fn truncate(&self, end: u64) -> Result<(), RepoError> {
        self.file
            .set_len(end)
            .map_err(|error| disk("truncate", &self.path, error))?;
        self.sync()
    }

    /// Waits until all that was written is on the disk. Blocks on it.
    pub(crate) fn sync(&self) -> Result<(), RepoError> {
        self.file
            .sync_all()
            .map_err(|error| disk("sync", &self.path, error))
    }

    pub(crate) fn corrupt(&self, what: &str) -> RepoError {
        RepoError::corrupt(format!("{}: {what}", self.path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Why nothing was appended, or perhaps something.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The log is as it was.
    Undone(RepoError),
    /// Only opening the repository again tells what is in the log.
    Unknown(RepoError),
}

struct Header {
    log_id: [u8; LOG_ID_LEN],
    did: String,
    length: u64,
}

/// The file appears under its name complete or not at all.
fn create(dir: &Path, did: &Did) -> Result<(), RepoError> {
    let mut header = Vec::new();
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&rand::rng().random::<[u8; LOG_ID_LEN]>());
    header.extend_from_slice(
        &u32::try_from(did.as_str().len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    header.extend_from_slice(did.as_str().as_bytes());
    let hash = Sha256::digest(&header);
    header.extend_from_slice(&hash);

    let new = dir.join(NEW_FILE);
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(&header)?;
        file.sync_all()?;
        std::fs::rename(&new, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| disk("create", &new, error))
}

pub(crate) fn disk(action: &'static str, path: &Path, error: std::io::Error) -> RepoError {
    RepoError::Disk {
        action,
        path: PathBuf::from(path),
        source: Arc::new(error),
    }
}

/// Runs what blocks on the disk where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RepoError> + Send + 'static,
) -> Result<T, RepoError> {
    // Fails only when the runtime shuts down.
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(RepoError::Closed))
}
