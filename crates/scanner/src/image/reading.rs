//! A blob that arrives piece by piece, for a reader that blocks: written to a file and hashed on its way.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;

use atcr_oci::{Descriptor, DigestHasher};
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::source::Pieces;
use crate::error::ScanError;

/// Pieces on the way.
const IN_FLIGHT: usize = 8;

/// The reading end: everything that is read is in the file as well.
pub struct Arriving {
    pieces: mpsc::Receiver<Result<Bytes, ScanError>>,
    current: Bytes,
    file: File,
    hasher: DigestHasher,
    named: Descriptor,
}

/// Reads `pieces` to their end into the file at `path`, through `look`, which gets a reader of the bytes and has to read all of them.
/// They must be what `named` names.
///
/// # Errors
/// `DigestMismatch`; those of `pieces` and of `look`, which end the reading.
pub async fn read_into<T: Send + 'static>(
    mut pieces: Pieces,
    named: Descriptor,
    path: &Path,
    look: impl FnOnce(&mut Arriving) -> Result<T, ScanError> + Send + 'static,
) -> Result<T, ScanError> {
    let file =
        File::create_new(path).map_err(ScanError::workspace(format!("cannot create {}", path.display())))?;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let looking = tokio::task::spawn_blocking(move || {
        let mut arriving = Arriving {
            pieces: receiver,
            current: Bytes::new(),
            file,
            hasher: DigestHasher::new(named.digest.algorithm()),
            named,
        };
        let seen = look(&mut arriving)?;
        arriving.finish().map(|()| seen)
    });
    while let Some(piece) = pieces.next().await {
        // The other end has found something, or fails.
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    match looking.await {
        Ok(outcome) => outcome,
        Err(error) => Err(ScanError::Workspace {
            doing: "reading a layer".to_owned(),
            source: io::Error::other(error),
        }),
    }
}

impl Arriving {
    fn finish(mut self) -> Result<(), ScanError> {
        // `look` read to the end, or this does.
        io::copy(&mut self, &mut io::sink())
            .map_err(|error| ScanError::from_reader(error, ScanError::workspace("cannot write a layer")))?;
        let Self { hasher, named, .. } = self;
        if hasher.len() != named.size {
            return Err(ScanError::DigestMismatch(format!(
                "{} has {} bytes and not {}",
                named.digest,
                hasher.len(),
                named.size
            )));
        }
        let digest = hasher.finish();
        if digest == named.digest {
            Ok(())
        } else {
            Err(ScanError::DigestMismatch(format!(
                "the bytes of {} hash to {digest}",
                named.digest
            )))
        }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece?,
            }
            if self.hasher.len() + self.current.len() as u64 > self.named.size {
                let what = format!("{} has more than {} bytes", self.named.digest, self.named.size);
                return Err(ScanError::DigestMismatch(what).into());
            }
            let written = self.file.write_all(&self.current);
            written.map_err(ScanError::workspace("cannot write a layer"))?;
            self.hasher.update(&self.current);
        }
        let len = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}
