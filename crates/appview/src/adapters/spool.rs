//! The spool as files: `<directory>/<session>/<part number>`.
//!
//! Bytes go to the page cache and come back from it while a part is sent; files are gone before the system writes most of them
//! to disk. One file per part makes "keep this part, drop that one" a matter of unlinking.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_oci::UploadSessionId;
use atcr_registry::blob::ports::PartBody;
use atcr_registry::upload::ports::{Spool, SpoolError, SpoolWriter};
use atcr_server::pieces::Piece;
use atcr_server::private_files::{FILE_MODE, FOLDER_MODE, make_private_folder};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use super::spool_usage::SpoolLimits;
use super::spool_usage::SpoolUsage;

/// Bytes read from a part at once.
const READ_BYTES: usize = 256 * 1024;

/// A directory of spooled parts.
#[derive(Clone, Debug)]
pub struct FileSpool {
    directory: PathBuf,
    writers: Arc<Writers>,
    usage: SpoolUsage,
}

/// The files that are being written to. A request that is dropped may leave one last write on a blocking thread; the next writer
/// of the same file waits for it, or the two would mix.
#[derive(Debug, Default)]
struct Writers {
    open: Mutex<HashSet<PathBuf>>,
    closed: Notify,
}

impl Writers {
    async fn claim(self: &Arc<Self>, path: PathBuf) -> Claim {
        loop {
            let closed = self.closed.notified();
            if self
                .open
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(path.clone())
            {
                return Claim {
                    path,
                    writers: Arc::clone(self),
                };
            }
            closed.await;
        }
    }
}

/// The sole right to write to a file.
struct Claim {
    path: PathBuf,
    writers: Arc<Writers>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.writers
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.path);
        self.writers.closed.notify_waiters();
    }
}

/// A file together with the right to write to it.
struct OpenFile {
    file: File,
    _claim: Claim,
}

impl FileSpool {
    /// Uses `directory`, which is created when it is missing, for as many bytes as `limits` say. What is in it counts. Only the user of
    /// this process can read what is in it, whatever the umask is.
    pub fn open(directory: impl Into<PathBuf>, limits: SpoolLimits) -> io::Result<Self> {
        let directory = directory.into();
        make_private_folder(&directory)?;
        std::fs::set_permissions(&directory, Permissions::from_mode(FOLDER_MODE))?;
        let spool = Self {
            directory,
            writers: Arc::default(),
            usage: SpoolUsage::new(limits),
        };
        for session in read_sessions(&spool.directory)? {
            for file in std::fs::read_dir(spool.session_directory(&session))? {
                let file = file?;
                if let Some(part) = file.file_name().to_str().and_then(|name| name.parse().ok()) {
                    spool.usage.set(&session, part, file.metadata()?.len());
                }
            }
        }
        Ok(spool)
    }

    fn session_directory(&self, session: &UploadSessionId) -> PathBuf {
        self.directory.join(session.as_str())
    }

    fn part_file(&self, session: &UploadSessionId, part: u32) -> PathBuf {
        self.session_directory(session).join(part.to_string())
    }
}

#[async_trait]
impl Spool for FileSpool {
    async fn append_to(
        &self,
        owner: &Did,
        session: &UploadSessionId,
        part: u32,
        keep: u64,
    ) -> io::Result<Box<dyn SpoolWriter>> {
        let directory = self.session_directory(session);
        let claim = self.writers.claim(self.part_file(session, part)).await;
        let file = blocking(move || {
            make_private_folder(&directory)?;
            let mut file = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(false)
                .mode(FILE_MODE)
                .open(&claim.path)?;
            if file.metadata()?.len() < keep {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            file.set_len(keep)?;
            file.seek(SeekFrom::Start(keep))?;
            Ok(OpenFile { file, _claim: claim })
        })
        .await?;
        self.usage.own(session, owner);
        self.usage.set(session, part, keep);
        Ok(Box::new(FileWriter {
            file: Some(file),
            writing: None,
            usage: self.usage.clone(),
            session: session.clone(),
            part,
        }))
    }

    async fn read(&self, session: &UploadSessionId, part: u32, len: u64) -> io::Result<PartBody> {
        let path = self.part_file(session, part);
        let file = blocking(move || {
            let file = File::open(path)?;
            if file.metadata()?.len() < len {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            Ok(file)
        })
        .await?;
        let bytes = stream::try_unfold((file, len), |(file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let (bytes, file) = blocking(move || read_piece(file, left)).await?;
            let left = left - bytes.len() as u64;
            Ok(Some((bytes, (file, left))))
        });
        Ok(PartBody {
            len: Some(len),
            bytes: Box::pin(bytes),
        })
    }

    async fn discard_part(&self, session: &UploadSessionId, part: u32) -> io::Result<()> {
        // Claimed like a writer: a removal that outlives its request must not hit the file of the next one.
        let claim = self.writers.claim(self.part_file(session, part)).await;
        blocking(move || absent_is_fine(std::fs::remove_file(&claim.path))).await?;
        self.usage.remove_part(session, part);
        Ok(())
    }

    async fn discard(&self, session: &UploadSessionId) -> io::Result<()> {
        let path = self.session_directory(session);
        blocking(move || absent_is_fine(std::fs::remove_dir_all(path))).await?;
        self.usage.remove(session);
        Ok(())
    }

    async fn sessions(&self) -> io::Result<Vec<UploadSessionId>> {
        let directory = self.directory.clone();
        blocking(move || read_sessions(&directory)).await
    }
}

fn read_sessions(directory: &Path) -> io::Result<Vec<UploadSessionId>> {
    let mut sessions = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        sessions.extend(
            name.to_str()
                .and_then(|name| name.parse::<UploadSessionId>().ok()),
        );
    }
    Ok(sessions)
}

/// Writes on a blocking thread while the caller fetches the next bytes; at most one write is under way.
struct FileWriter {
    file: Option<OpenFile>,
    writing: Option<JoinHandle<io::Result<OpenFile>>>,
    usage: SpoolUsage,
    session: UploadSessionId,
    part: u32,
}

impl FileWriter {
    async fn settle(&mut self) -> io::Result<()> {
        if let Some(writing) = self.writing.take() {
            self.file = Some(writing.await.map_err(io::Error::other)??);
        }
        Ok(())
    }
}

#[async_trait]
impl SpoolWriter for FileWriter {
    async fn append(&mut self, piece: Piece) -> Result<(), SpoolError> {
        self.settle().await?;
        self.usage.grow(&self.session, self.part, piece.len() as u64)?;
        let mut open = self
            .file
            .take()
            .ok_or_else(|| io::Error::other("the spool file is lost"))?;
        self.writing = Some(tokio::task::spawn_blocking(move || {
            for frame in piece.frames() {
                open.file.write_all(frame)?;
            }
            Ok(open)
        }));
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.settle().await
    }
}

fn read_piece(file: File, left: u64) -> io::Result<(Bytes, File)> {
    let want = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
    let mut bytes = Vec::with_capacity(want);
    let mut limited = file.take(want as u64);
    limited.read_to_end(&mut bytes)?;
    if bytes.len() < want {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok((bytes.into(), limited.into_inner()))
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    const ROOMY: SpoolLimits = SpoolLimits {
        account_bytes: u64::MAX,
        total_bytes: u64::MAX,
    };

    fn alice() -> Did {
        "did:web:alice.example".parse().unwrap()
    }

    async fn contents(spool: &FileSpool, session: &UploadSessionId, part: u32, len: u64) -> Vec<u8> {
        let body = spool.read(session, part, len).await.unwrap();
        assert_eq!(body.len, Some(len));
        body.bytes.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    #[tokio::test]
    async fn appended_bytes_survive_reopening_and_what_follows_the_kept_ones_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let session = UploadSessionId::random();
        let spool = FileSpool::open(directory.path().join("spool"), ROOMY).unwrap();
        let mut writer = spool.append_to(&alice(), &session, 1, 0).await.unwrap();
        writer.append(Bytes::from_static(b"kept, ").into()).await.unwrap();
        writer
            .append(Bytes::from_static(b"dropped").into())
            .await
            .unwrap();
        writer.flush().await.unwrap();

        let spool = FileSpool::open(directory.path().join("spool"), ROOMY).unwrap();
        let mut writer = spool.append_to(&alice(), &session, 1, 6).await.unwrap();
        writer.append(Bytes::from_static(b"added").into()).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(contents(&spool, &session, 1, 11).await, b"kept, added");
        assert_eq!(contents(&spool, &session, 1, 4).await, b"kept");
    }

    #[tokio::test]
    async fn no_other_user_of_the_machine_reads_what_is_spooled() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("spool");
        // As an older version may have left it.
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let session = UploadSessionId::random();
        let spool = FileSpool::open(&folder, ROOMY).unwrap();
        let mut writer = spool.append_to(&alice(), &session, 1, 0).await.unwrap();
        writer
            .append(Bytes::from_static(b"private").into())
            .await
            .unwrap();
        writer.flush().await.unwrap();
        let of_session = folder.join(session.as_str());
        for path in [&folder, &of_session, &of_session.join("1")] {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        }
    }

    #[tokio::test]
    async fn fewer_bytes_than_promised_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let session = UploadSessionId::random();
        let spool = FileSpool::open(directory.path(), ROOMY).unwrap();
        let missing = spool.append_to(&alice(), &session, 1, 6).await.err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::UnexpectedEof);
        assert!(spool.read(&session, 1, 1).await.is_err());
    }

    #[tokio::test]
    async fn sessions_are_listed_until_they_are_discarded() {
        let directory = tempfile::tempdir().unwrap();
        let session = UploadSessionId::random();
        let spool = FileSpool::open(directory.path(), ROOMY).unwrap();
        spool.append_to(&alice(), &session, 1, 0).await.unwrap();
        assert_eq!(spool.sessions().await.unwrap(), vec![session.clone()]);
        spool.discard_part(&session, 1).await.unwrap();
        spool.discard_part(&session, 1).await.unwrap();
        spool.discard(&session).await.unwrap();
        spool.discard(&session).await.unwrap();
        assert!(spool.sessions().await.unwrap().is_empty());
    }
}
