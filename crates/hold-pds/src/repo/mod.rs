//! [`HoldRepo`]: the repository as its callers see it.

mod backoff;
mod budget;
mod event_cursor;
pub(crate) mod events;
mod export;
mod holdings;
mod indexer;
mod newcomers;
mod open;
mod options;
mod records;
mod roster;
mod task;
pub(crate) mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use atcr_atproto::clock::{Clock, TidClock};
use atcr_atproto::crypto::{PublicKey, SigningKey};
use atcr_atproto::syntax::{Cid, Did, Tid};
use atcr_repo::Block;
use bytes::Bytes;
use futures_util::stream::Stream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use budget::EventBudget;
pub use event_cursor::{EventCursor, EventStart};
pub use events::Event;
pub use holdings::{CrewMember, CrewPage};
pub use newcomers::Newcomers;
pub use options::{KnownEvent, RepoOptions, Seen};
pub use records::{RecordPage, StoredRecord};

use crate::blocks::View;
use crate::disk::{self, Disk as _, RealDisk};
use crate::error::RepoError;
use crate::head::CommitInfo;
use crate::index::{self, Index};
use crate::lock::Lock;
use crate::offload::blocking;
use crate::writer::prepare::prepare;
use crate::writer::{Precondition, RecordWrite, Urgency, WriteOutcome};
use task::Message;

/// How long a query waits for the index to have what was acknowledged. Longer than the index waits for its file.
const INDEX_WITHIN: Duration = Duration::from_secs(20);

/// The repository. Cheap to clone; all clones are the same repository.
///
/// Reads see every write that was acknowledged. What is read in one call is from one commit, except pages.
#[derive(Clone, Debug)]
pub struct HoldRepo {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    did: Did,
    /// The key that signed the newest commit.
    public_key: RwLock<PublicKey>,
    tids: Arc<TidClock>,
    was_unknown: bool,
    found_seq: u64,
    is_older_copy: bool,
    index: Index,
    /// The last write to the disk worked.
    healthy: Arc<AtomicBool>,
    index_lag: Arc<AtomicU64>,
    /// The newest event up to which the index was brought.
    indexed: watch::Receiver<u64>,
    view: watch::Receiver<Arc<View>>,
    seq: watch::Receiver<u64>,
    mailbox: mpsc::Sender<Message>,
    /// Why nothing is written any more.
    halted: OnceLock<String>,
    newcomers: OnceLock<Newcomers>,
    /// `None` once closed.
    running: Mutex<Option<JoinHandle<()>>>,
}

impl HoldRepo {
    /// Opens the repository, or makes one in a folder that is empty or missing. Needs a tokio runtime, on which the writer
    /// runs.
    ///
    /// What a crash left at the end of the log is mended first; an index that is missing, damaged or of another version is
    /// made anew from the records. The log of a version before this one is converted.
    ///
    /// # Errors
    /// - [`RepoError::Locked`]: another process has it open
    /// - [`RepoError::OtherDid`], [`RepoError::OtherKey`]: it is another account's, or another key signed it
    /// - [`RepoError::Incomplete`]: a part is missing; nothing was changed
    /// - [`RepoError::Corrupt`]: damage that no crash explains; nothing was changed
    /// - [`RepoError::ClockBehind`]: only when the repository has to be signed again
    /// - the disk's or the index's
    pub async fn open(options: RepoOptions, clock: Arc<dyn Clock>) -> Result<Self, RepoError> {
        open::open(options, clock).await
    }

    /// Finishes the writes under way, closes the files and lets other processes in. Later writes, on any clone, fail with
    /// [`RepoError::Closed`]; a second call returns at once.
    pub async fn close(&self) {
        let running = self
            .inner
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(writer) = running else {
            return;
        };
        // Fails if the writer has ended already.
        let _ = self.inner.mailbox.send(Message::Close).await;
        if writer.await.is_err() {
            tracing::error!(did = %self.inner.did, "the repository's writer ended before its time");
        }
        self.inner.index.close().await;
    }

    /// Whose repository it is.
    #[must_use]
    pub fn did(&self) -> &Did {
        &self.inner.did
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.inner.view.borrow())
    }

    /// The index, once it has everything that was acknowledged before this call, as far as it can be written.
    ///
    /// # Errors
    /// [`RepoError::IndexBehind`] when that takes too long.
    pub(crate) async fn index(&self) -> Result<&Index, RepoError> {
        let seq = self.view().last.0;
        let mut indexed = self.inner.indexed.clone();
        let reached = indexed.wait_for(|reached| *reached >= seq);
        match tokio::time::timeout(INDEX_WITHIN, reached).await {
            // Without a writer there is nothing to wait for.
            Ok(Ok(_) | Err(_)) => Ok(&self.inner.index),
            Err(_) => Err(RepoError::IndexBehind),
        }
    }

    /// Does `writes` in one commit, all or none: on the disk when this returns. Other callers' writes may be in the same
    /// commit.
    ///
    /// # Errors
    /// As [`write_if`](Self::write_if).
    pub async fn write(&self, writes: Vec<RecordWrite>) -> Result<WriteOutcome, RepoError> {
        self.write_if(writes, Vec::new()).await
    }

    /// As [`write`](Self::write), if all of `preconditions` hold at that moment.
    ///
    /// # Errors
    /// Nothing of the call was written:
    /// - [`RepoError::RecordExists`], [`RepoError::CommitSwapped`], [`RepoError::RecordSwapped`]: look again
    /// - [`RepoError::InvalidRecord`], [`RepoError::OtherType`], [`RepoError::RecordTooLarge`],
    ///   [`RepoError::TooManyWrites`], [`RepoError::DuplicatePath`]: the call is wrong
    /// - [`RepoError::Disk`], [`RepoError::ClockBehind`]: the operator has to do something
    /// - [`RepoError::Closed`]: open the repository again
    /// - [`RepoError::Halted`]: another process may write
    ///
    /// Perhaps written: [`RepoError::PerhapsWritten`].
    ///
    /// # Cancel safety
    /// Once the call waits in the mailbox, dropping the future does not take it back.
    pub async fn write_if(
        &self,
        writes: Vec<RecordWrite>,
        preconditions: Vec<Precondition>,
    ) -> Result<WriteOutcome, RepoError> {
        self.send(writes, preconditions, Urgency::Interactive).await
    }

    /// As [`write`](Self::write), when `urgency` says so: a write in the background waits for the budget of events, half a
    /// minute at most unless the options say otherwise, and shares its commit.
    ///
    /// # Errors
    /// As [`write_if`](Self::write_if).
    pub async fn write_by(
        &self,
        writes: Vec<RecordWrite>,
        urgency: Urgency,
    ) -> Result<WriteOutcome, RepoError> {
        self.send(writes, Vec::new(), urgency).await
    }

    fn check_not_halted(&self) -> Result<(), RepoError> {
        match self.inner.halted.get() {
            Some(reason) => Err(RepoError::Halted {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        writes: Vec<RecordWrite>,
        preconditions: Vec<Precondition>,
        urgency: Urgency,
    ) -> Result<WriteOutcome, RepoError> {
        self.check_not_halted()?;
        self.tell_of_newcomers(&writes).await?;
        let prepared = prepare(&self.inner.did, &self.inner.tids, writes, preconditions)?;
        let (reply, answer) = oneshot::channel();
        self.inner
            .mailbox
            .send(Message::Write {
                prepared,
                urgency,
                reply,
            })
            .await
            .map_err(|_| RepoError::Closed)?;
        answer.await.map_err(|_| RepoError::Closed)?
    }

    /// The key that signs commits.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.inner
            .public_key
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Refuses writes from now on, with [`RepoError::Paused`]; those that were accepted are done when this returns. Reads go on.
    ///
    /// # Errors
    /// [`RepoError::Closed`].
    pub async fn pause_writes(&self, reason: &str) -> Result<(), RepoError> {
        self.set_paused(Some(reason.into())).await
    }

    /// Takes writes again.
    ///
    /// # Errors
    /// [`RepoError::Closed`].
    pub async fn resume_writes(&self) -> Result<(), RepoError> {
        self.set_paused(None).await
    }

    async fn set_paused(&self, reason: Option<Arc<str>>) -> Result<(), RepoError> {
        let (reply, answer) = oneshot::channel();
        self.inner
            .mailbox
            .send(Message::Pause { reason, reply })
            .await
            .map_err(|_| RepoError::Closed)?;
        answer.await.map_err(|_| RepoError::Closed)
    }

    /// Signs with `key` from now on and tells followers: `#identity`, an empty `#commit`, `#sync`. Events before these are not served
    /// to new subscribers any more. The DID document has to name `key` by now. Done whether or not writes are paused.
    ///
    /// # Errors
    /// [`RepoError::Halted`]. The disk's: the old key signs on then. After [`RepoError::PerhapsWritten`] only opening the repository again tells.
    pub async fn change_key(&self, key: SigningKey) -> Result<(), RepoError> {
        self.check_not_halted()?;
        let public_key = key.public_key();
        let (reply, answer) = oneshot::channel();
        self.inner
            .mailbox
            .send(Message::ChangeKey { key, reply })
            .await
            .map_err(|_| RepoError::Closed)?;
        answer.await.map_err(|_| RepoError::Closed)??;
        *self
            .inner
            .public_key
            .write()
            .unwrap_or_else(PoisonError::into_inner) = public_key;
        Ok(())
    }

    /// Whether the repository was new when it was opened, or at another host than before: those that follow this host have no position.
    #[must_use]
    pub fn was_unknown(&self) -> bool {
        self.inner.was_unknown
    }

    /// The newest event that the folder had when it was opened. The opening itself may have written some since.
    #[must_use]
    pub fn found_seq(&self) -> u64 {
        self.inner.found_seq
    }

    /// Whether the folder lacked the event that the options name, when it was opened.
    #[must_use]
    pub fn is_older_copy(&self) -> bool {
        self.inner.is_older_copy
    }

    /// Whether the repository does not have `known`, so that its folder is an older copy. Of another log an event is had if it is not newer
    /// than all that the folder had when it was opened: what a restore acknowledged is, and what was written since makes it no newer.
    ///
    /// # Errors
    /// The disk's.
    pub async fn lacks(&self, known: &KnownEvent) -> Result<bool, RepoError> {
        let (view, known, found) = (self.view(), known.clone(), self.found_seq());
        blocking(move || events::lacks(&view, &known, found)).await
    }

    /// Tells followers what the repository is now, by an `#identity` and a `#sync`. Those that knew it lose nothing.
    ///
    /// # Errors
    /// The disk's; [`RepoError::Halted`].
    pub async fn introduce(&self) -> Result<(), RepoError> {
        self.check_not_halted()?;
        let (reply, answer) = oneshot::channel();
        self.inner
            .mailbox
            .send(Message::Announce(reply))
            .await
            .map_err(|_| RepoError::Closed)?;
        answer.await.map_err(|_| RepoError::Closed)?
    }

    /// Whose repository is in the folder `dir`, as its manifest says; `None` for a folder without one. Opens nothing.
    ///
    /// # Errors
    /// [`RepoError::Corrupt`] for a damaged manifest; the disk's.
    pub fn did_in(dir: &std::path::Path) -> Result<Option<String>, RepoError> {
        if !dir.exists() {
            return Ok(None);
        }
        let disk = crate::disk::RealDisk::open(dir)?;
        Ok(crate::log::Manifest::read(&disk)?.map(|manifest| manifest.did))
    }

    /// Whether no process has the repository in `dir` open at the moment.
    ///
    /// # Errors
    /// The disk's.
    pub fn is_closed_in(dir: &std::path::Path) -> Result<bool, RepoError> {
        if !crate::lock::Lock::was_ever_in(dir) {
            return Ok(true);
        }
        match crate::lock::Lock::take(dir) {
            Ok(_) => Ok(true),
            Err(RepoError::Locked { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether writes are possible, as far as the last one tells. A repository that could not write tries again with the
    /// next write.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.inner.healthy.load(Ordering::Relaxed)
            && !self.inner.mailbox.is_closed()
            && self.inner.halted.get().is_none()
    }

    /// Why every write is refused, if [`stop_writing`](Self::stop_writing) was called.
    #[must_use]
    pub fn why_halted(&self) -> Option<&str> {
        self.inner.halted.get().map(String::as_str)
    }

    /// Refuses every later write, for `reason`, as long as the process lives: another one has taken over. Reads go on.
    pub fn stop_writing(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.inner.halted.set(reason.clone()).is_ok() {
            tracing::error!(reason, "the repository is not written any more");
        }
    }

    /// Whether queries of the index see everything that was acknowledged before this call. Of a query that is asked after it.
    pub async fn is_index_whole(&self) -> bool {
        self.index().await.is_ok() && self.index_lag_batches() == 0
    }

    /// How many batches of commits the index of records lacks; 0 unless the last write to it failed.
    #[must_use]
    pub fn index_lag_batches(&self) -> u64 {
        self.inner.index_lag.load(Ordering::Relaxed)
    }

    /// The newest commit.
    #[must_use]
    pub fn latest_commit(&self) -> CommitInfo {
        self.view().head.info()
    }

    /// The repository as CAR, in pieces of some 64 KiB; with `since`, only the blocks that are newer than that revision.
    /// The root is the newest commit at the time of the call, and all blocks are of that commit, even if others write meanwhile.
    ///
    /// Tree nodes come before what is below them, records in the order of their paths. Memory does not depend on the size
    /// of the repository.
    pub fn export_car(
        &self,
        since: Option<Tid>,
    ) -> impl Stream<Item = Result<Bytes, RepoError>> + Send + 'static {
        export::export((*self.view()).clone(), since)
    }

    /// Writes a snapshot now, and lets go of what it makes needless. Happens by itself as the log grows.
    ///
    /// # Errors
    /// The disk's; the repository is as before then.
    pub async fn write_snapshot(&self) -> Result<(), RepoError> {
        let (reply, answer) = oneshot::channel();
        self.inner
            .mailbox
            .send(Message::Snapshot(reply))
            .await
            .map_err(|_| RepoError::Closed)?;
        answer.await.map_err(|_| RepoError::Closed)?
    }

    /// A CAR that proves what the record is, or that there is none: the newest commit, the tree nodes on the way to the
    /// record or to where it would be, the record.
    ///
    /// # Errors
    /// The disk's.
    ///
    /// # Spec
    /// `com.atproto.sync.getRecord`.
    pub async fn record_proof(&self, collection: &str, rkey: &str) -> Result<Bytes, RepoError> {
        let view = self.view();
        let path = format!("{collection}/{rkey}");
        blocking(move || view.proof(&path)).await
    }

    /// Those of the named blocks that the repository has now, in the order of their names here. What was
    /// replaced or deleted is not among them. All are in memory at once: the caller bounds their number.
    ///
    /// # Errors
    /// The disk's.
    pub async fn get_blocks(&self, cids: &[Cid]) -> Result<Vec<Block>, RepoError> {
        let view = self.view();
        let cids = cids.to_vec();
        blocking(move || view.live_blocks(&cids)).await
    }

    /// The newest `seq`, and a wake-up when there is a newer one.
    #[must_use]
    pub fn watch_seq(&self) -> watch::Receiver<u64> {
        self.inner.seq.clone()
    }

    /// When the newest event was written, in microseconds since 1970. Its `seq` may be far ahead of that, such as after a restore.
    #[must_use]
    pub fn newest_event_at(&self) -> u64 {
        self.view().last.1
    }

    /// Removes what opening makes anew: the index and the table of the snapshot's blocks. Blocks on the disk.
    ///
    /// # Errors
    /// [`RepoError::Locked`] while a process has the repository open; the disk's.
    pub fn discard_index(dir: &Path) -> Result<(), RepoError> {
        let disk = RealDisk::open(dir)?;
        let _lock = Lock::take(dir)?;
        index::remove(dir)?;
        let failed = |error| disk::failed(&disk, "list", "", error);
        for name in disk.names().map_err(failed)? {
            if name.ends_with(".tbl") {
                disk.remove(&name)
                    .map_err(|error| disk::failed(&disk, "remove", &name, error))?;
            }
        }
        Ok(())
    }

    /// How many records the index has.
    ///
    /// # Errors
    /// The index's.
    pub async fn indexed_records(&self) -> Result<u64, RepoError> {
        Ok(self.index().await?.row_count().await?.0)
    }

    /// Walks the whole repository: signature, tree shape, every block present and equal to its name, every event in the log
    /// whole, every record that should be in the index there and no other, and what users keep counted anew. Takes as long as an export; writes may go on.
    ///
    /// # Errors
    /// [`RepoError::Corrupt`] says what is wrong first; the disk's or the index's.
    pub async fn verify(&self) -> Result<(), RepoError> {
        let view = (*self.view()).clone();
        let seq = view.last.0;
        let (did, key) = (self.inner.did.clone(), self.public_key());
        let expected = blocking(move || {
            verify::verify_log(&view)?;
            verify::verify(view, &did, &key)
        })
        .await?;
        let (found, as_of) = self.index().await?.row_count().await?;
        // Events that change no row do not move the index.
        let is_comparable = as_of <= seq && *self.inner.seq.borrow() == seq;
        if is_comparable && found != expected {
            return Err(RepoError::corrupt(format!(
                "the index has {found} records and should have {expected}"
            )));
        }
        let wrong = self.index().await?.wrong_usages().await?;
        if wrong > 0 {
            return Err(RepoError::corrupt(format!(
                "a recount of the index finds that {wrong} users keep something else than it says"
            )));
        }
        Ok(())
    }
}
