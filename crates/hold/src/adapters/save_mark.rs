//! The word beside the database that changes with each save of the uptime.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::gc::ports::SaveMark;

/// Bytes of the file that are read: more than a word has.
const MAX_MARK: u64 = 256;

/// [`SaveMark`] in a file.
#[derive(Clone, Debug)]
pub struct MarkFile {
    path: PathBuf,
}

impl MarkFile {
    /// The file at `path`, whose folder must be there.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl SaveMark for MarkFile {
    async fn read(&self) -> io::Result<Option<String>> {
        let path = self.path.clone();
        blocking(move || {
            let file = match File::open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            let mut bytes = Vec::new();
            file.take(MAX_MARK).read_to_end(&mut bytes)?;
            Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
        })
        .await
    }

    async fn write(&self, mark: &str) -> io::Result<()> {
        let (path, mark) = (self.path.clone(), mark.to_owned());
        blocking(move || {
            let next = path.with_extension("new");
            let mut file = File::create(&next)?;
            file.write_all(mark.as_bytes())?;
            file.sync_all()?;
            fs::rename(&next, &path)?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
