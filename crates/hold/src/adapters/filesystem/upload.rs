//! The state of running uploads. Every change is made under the upload's lock, which may move to a blocking thread: work that
//! outlives its request still excludes other work on the upload.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use atcr_oci::{Algorithm, DigestHasher};
use tokio::sync::{OwnedMappedMutexGuard, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::failed;
use super::parts_log::{FinishedPart, PartsLog};
use crate::blobs::{Assembled, ObjectKey, PartTag, StoreError, StoreUpload, Unfinished};

const DATA: &str = "data";
const PARTS: &str = "parts";
/// Open files kept for uploads that are between two parts.
const MAX_IDLE: usize = 256;
/// Begins writing to the disk after as many bytes, so that little is left to wait for at the end.
const SYNC_EVERY: u64 = 32 * 1024 * 1024;
/// A disk slower than the client makes the client wait here rather than at the end, and keeps dirty memory bounded.
const MAX_UNSYNCED: u64 = 128 * 1024 * 1024;

/// All running uploads below one folder.
#[derive(Debug)]
pub(super) struct Uploads {
    folder: PathBuf,
    boot: String,
    slots: Mutex<HashMap<Uuid, Arc<Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// `None` until it is read from the disk, and once it has ended.
    state: Arc<tokio::sync::Mutex<Option<RunningUpload>>>,
    claims: Mutex<Vec<(u32, CancellationToken)>>,
}

/// An upload, locked.
pub(super) type Held = OwnedMappedMutexGuard<Option<RunningUpload>, RunningUpload>;

/// One upload's file and what is known about it.
#[derive(Debug)]
pub(super) struct RunningUpload {
    pub(super) file: Arc<File>,
    log: PartsLog,
    parts: Vec<FinishedPart>,
    at_end: DigestHasher,
    before_last: Option<DigestHasher>,
    /// The hash states and the file belong together.
    trusted: bool,
    /// Assembled: names the bytes as they were then. Only the last part may still be sent again, which breaks the seal.
    seal: Option<Uuid>,
    writeback: Writeback,
}

/// Why a part is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartRefusal {
    /// It is not this one's turn.
    OutOfOrder { sent: u32, expected: usize },
    /// The upload is being completed.
    Sealed,
}

impl Uploads {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            boot: boot_id(),
            slots: Mutex::default(),
        }
    }

    fn upload_dir(&self, upload: Uuid) -> PathBuf {
        self.folder.join(format!("temp-{upload}"))
    }

    pub(super) fn data_path(&self, upload: Uuid) -> PathBuf {
        self.upload_dir(upload).join(DATA)
    }

    /// Makes the upload's folder and files. Blocks.
    pub(super) fn create(&self, upload: Uuid, algorithm: Algorithm) -> io::Result<()> {
        let folder = self.upload_dir(upload);
        fs::create_dir(&folder)?;
        File::create_new(folder.join(DATA))?;
        PartsLog::at(folder.join(PARTS)).create(algorithm, &self.boot)
    }

    /// Announces that `part_number` is about to be sent; an older request for the same part is told to give up.
    pub(super) fn claim(&self, upload: Uuid, part_number: u32) -> Claim {
        let slot = self.slot(upload);
        let superseded = CancellationToken::new();
        let mut claims = guard(&slot.claims);
        claims.retain(|(_, token)| !token.is_cancelled());
        for (_, token) in claims.iter().filter(|(number, _)| *number == part_number) {
            token.cancel();
        }
        claims.push((part_number, superseded.clone()));
        drop(claims);
        Claim { slot, superseded }
    }

    /// Waits for the upload's lock, and reads its state if this is the first use.
    pub(super) async fn hold(&self, upload: Uuid, claim: &Claim) -> Result<Held, StoreError> {
        let lock = claim.slot.state.clone().lock_owned().await;
        let (folder, boot) = (self.upload_dir(upload), self.boot.clone());
        let lock = blocking("open an upload", move || {
            let mut lock = lock;
            if lock.is_none() {
                *lock = Some(RunningUpload::open(&folder, &boot)?);
            }
            Ok(lock)
        })
        .await?;
        OwnedMutexGuard::try_map(lock, Option::as_mut).map_err(|_| StoreError::UnknownUpload)
    }

    /// Checks the parts, makes the bytes durable and takes no more of them.
    pub(super) async fn assemble(&self, upload: Uuid, tags: &[PartTag]) -> Result<Assembled, StoreError> {
        let action = "make an upload durable";
        let claim = self.claim_all(upload);
        let mut held = self.hold(upload, &claim).await?;
        held.check(tags)?;
        let seal = *held.seal.get_or_insert_with(Uuid::new_v4);
        let written_back = held.writeback.wait().await;
        blocking(action, move || {
            let size = held.end();
            let synced = written_back.and_then(|()| {
                if held.file.metadata()?.len() != size {
                    held.file.set_len(size)?;
                }
                held.file.sync_all()
            });
            if synced.is_err() {
                // The kernel may have dropped the bytes and will not say so again.
                held.log.destroy()?;
            }
            synced?;
            let digest = held.trusted.then(|| held.at_end.clone().finish());
            Ok(Assembled {
                size,
                digest,
                version: Some(seal.to_string()),
            })
        })
        .await
    }

    /// Ends the upload: hands its file to `take`, which may move it away, and removes the rest. Bytes are published only under the
    /// seal that they were assembled with.
    pub(super) async fn end(
        &self,
        upload: Uuid,
        ending: Ending<'_>,
        take: impl FnOnce(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        let action = ending.action();
        let claim = self.claim_all(upload);
        let folder = self.upload_dir(upload);
        let mut lock = claim.slot.state.clone().lock_owned().await;
        let seal = lock
            .as_ref()
            .and_then(|running| running.seal)
            .map(|seal| seal.to_string());
        if let Ending::Publish { seal: wanted } = ending
            && (seal.is_none() || seal.as_deref() != wanted)
        {
            return Err(StoreError::UnknownUpload);
        }
        let outcome = blocking(action, move || {
            take(&folder.join(DATA))?;
            *lock = None;
            fs::remove_dir_all(&folder)
        })
        .await;
        if outcome.is_ok() {
            guard(&self.slots).remove(&upload);
        }
        outcome
    }

    /// Blocks.
    pub(super) fn list(&self, limit: usize) -> io::Result<Vec<Unfinished>> {
        let mut unfinished = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let uuid = name.to_str().and_then(|name| name.strip_prefix("temp-"));
            let Some(uuid) = uuid.and_then(|text| Uuid::try_parse(text).ok()) else {
                continue;
            };
            // An upload that ends meanwhile is none to list.
            if let Ok(changed) = newest_change(&entry.path()) {
                unfinished.push(Unfinished {
                    upload: StoreUpload {
                        key: ObjectKey::upload(uuid),
                        id: uuid.to_string(),
                    },
                    since: changed.into(),
                });
            }
            if unfinished.len() >= limit {
                break;
            }
        }
        Ok(unfinished)
    }

    fn claim_all(&self, upload: Uuid) -> Claim {
        let slot = self.slot(upload);
        for (_, token) in guard(&slot.claims).drain(..) {
            token.cancel();
        }
        Claim {
            slot,
            superseded: CancellationToken::new(),
        }
    }

    fn slot(&self, upload: Uuid) -> Arc<Slot> {
        let mut slots = guard(&self.slots);
        if slots.len() >= MAX_IDLE && !slots.contains_key(&upload) {
            slots.retain(|_, slot| slot.is_needed());
        }
        slots.entry(upload).or_default().clone()
    }
}

impl Slot {
    /// Whether it is in use, or knows what the disk does not: that the upload is sealed.
    fn is_needed(self: &Arc<Self>) -> bool {
        if Arc::strong_count(self) > 1 {
            return true;
        }
        match self.state.try_lock() {
            Ok(state) => state.as_ref().is_some_and(|running| running.seal.is_some()),
            Err(_) => true,
        }
    }
}

/// How an upload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending<'a> {
    /// Its bytes, as they were assembled under this seal, become an object.
    Publish {
        /// [`Assembled::version`].
        seal: Option<&'a str>,
    },
    /// Its bytes go.
    Discard,
}

impl Ending<'_> {
    fn action(self) -> &'static str {
        match self {
            Self::Publish { .. } => "publish an upload",
            Self::Discard => "discard an upload",
        }
    }
}

/// The right to wait for an upload.
#[derive(Debug)]
pub(super) struct Claim {
    slot: Arc<Slot>,
    superseded: CancellationToken,
}

impl Claim {
    /// Resolves when the same part is sent again, or the upload ends.
    pub(super) async fn superseded(&self) {
        self.superseded.cancelled().await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Lets the next claim forget this one.
        self.superseded.cancel();
    }
}

impl RunningUpload {
    fn open(folder: &Path, boot: &str) -> io::Result<Self> {
        let log = PartsLog::at(folder.join(PARTS));
        let replayed = log.replay(boot)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join(DATA))?;
        // A power failure took bytes of finished parts. Said now, not after the rest has been sent.
        if file.metadata()?.len() < replayed.parts.last().map_or(0, |part| part.end) {
            log.destroy()?;
            return Err(ErrorKind::NotFound.into());
        }
        Ok(Self {
            file: Arc::new(file),
            log,
            parts: replayed.parts,
            at_end: replayed.at_end,
            before_last: replayed.before_last,
            trusted: replayed.same_boot,
            seal: None,
            writeback: Writeback::default(),
        })
    }

    /// Where the finished parts end.
    fn end(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.end)
    }

    /// Makes room for part `number`, and returns the hash state at its beginning. The last part may be sent again. Blocks.
    pub(super) fn begin_part(&mut self, number: u32) -> io::Result<Result<DigestHasher, PartRefusal>> {
        let finished = self.parts.len();
        let is_next = usize::try_from(number) == Ok(finished + 1);
        let is_last = usize::try_from(number) == Ok(finished);
        // The completion may have failed after the seal; a client that repeats its last request sends the last part again.
        if self.seal.is_some() && !is_last {
            return Ok(Err(PartRefusal::Sealed));
        }
        self.seal = None;
        match &self.before_last {
            _ if is_next => {}
            Some(before) if is_last => {
                self.log.void_part(finished)?;
                self.parts.pop();
                self.at_end = before.clone();
                self.before_last = None;
            }
            _ => {
                return Ok(Err(PartRefusal::OutOfOrder {
                    sent: number,
                    expected: finished + 1,
                }));
            }
        }
        // What a part that broke off has left.
        if self.file.metadata()?.len() > self.end() {
            self.file.set_len(self.end())?;
        }
        Ok(Ok(self.at_end.clone()))
    }

    /// Notes that a part is whole; `hasher` stands at its end. Returns its tag. Blocks.
    pub(super) fn finish_part(&mut self, hasher: DigestHasher) -> io::Result<String> {
        let digest = hasher.clone().finish();
        let mut tag = [0; 16];
        data_encoding::HEXLOWER
            .decode_mut(&digest.hex().as_bytes()[..32], &mut tag)
            .map_err(|_| io::Error::other("a digest is not hexadecimal"))?;
        let part = FinishedPart {
            end: hasher.len(),
            tag,
        };
        self.log.add_part(self.parts.len() + 1, part, &hasher)?;
        self.parts.push(part);
        self.before_last = Some(std::mem::replace(&mut self.at_end, hasher));
        Ok(data_encoding::HEXLOWER.encode(&tag))
    }

    /// Tells the disk about `len` more bytes; waits when it is far behind.
    pub(super) async fn note_written(&mut self, len: u64) -> io::Result<()> {
        self.writeback.note(&self.file, len).await
    }

    /// What cannot be written to the disk is lost for good.
    pub(super) fn destroy(&self) -> io::Result<()> {
        self.log.destroy()
    }

    fn check(&self, tags: &[PartTag]) -> Result<(), StoreError> {
        let mismatch = |reason| Err(StoreError::PartMismatch { reason });
        for (index, tag) in tags.iter().enumerate() {
            let number = tag.part_number;
            let Some(part) = self
                .parts
                .get(index)
                .filter(|_| usize::try_from(number) == Ok(index + 1))
            else {
                return mismatch(format!("part {} was not received", index + 1));
            };
            let sent = tag.etag.trim_matches('"');
            if !sent.eq_ignore_ascii_case(&data_encoding::HEXLOWER.encode(&part.tag)) {
                return mismatch(format!("part {number} was received with another ETag"));
            }
        }
        if tags.len() < self.parts.len() {
            return mismatch(format!(
                "{} parts were received, {} are named",
                self.parts.len(),
                tags.len()
            ));
        }
        Ok(())
    }
}

/// Writes an upload's bytes to the disk in the background while more of them arrive.
#[derive(Debug, Default)]
struct Writeback {
    unsynced: u64,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl Writeback {
    async fn note(&mut self, file: &Arc<File>, len: u64) -> io::Result<()> {
        self.unsynced += len;
        let is_running = self
            .running
            .as_ref()
            .is_some_and(|running| !running.is_finished());
        if self.unsynced < SYNC_EVERY || (is_running && self.unsynced < MAX_UNSYNCED) {
            return Ok(());
        }
        self.wait().await?;
        self.unsynced = 0;
        let file = file.clone();
        self.running = Some(tokio::task::spawn_blocking(move || file.sync_data()));
        Ok(())
    }

    /// Waits for the running sync. Its outcome is not lost if the wait is cancelled.
    async fn wait(&mut self) -> io::Result<()> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let outcome = running.await;
        self.running = None;
        outcome.map_err(io::Error::other)?
    }
}

async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| failed(action, error)),
        Err(panicked) => Err(StoreError::unavailable(action, panicked)),
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn newest_change(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = fs::metadata(folder)?.modified()?;
    for name in [DATA, PARTS] {
        match fs::metadata(folder.join(name)) {
            Ok(metadata) => newest = newest.max(metadata.modified()?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(newest)
}

/// Changes when the machine starts; without one, with the process.
fn boot_id() -> String {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => Uuid::new_v4().to_string(),
    }
}
