//! Opening: lock, log, index, recovery, first commit, writer.

use std::path::Path;
use std::sync::{Arc, Mutex};

use atcr_atproto::clock::{Clock, TidClock};
use tokio::sync::{mpsc, watch};

use super::{HoldRepo, Inner, RepoOptions};
use crate::error::RepoError;
use crate::head::Head;
use crate::store::apply::{PlacedFrame, damage};
use crate::store::block_log::{AppendError, blocking, disk};
use crate::store::frame::Frame;
use crate::store::lock::Lock;
use crate::store::recovery::recover;
use crate::store::{BlockLog, Index, NodeCache, Pins, Store};
use crate::writer::{CommitBuilder, Content, MAILBOX, RepoWriter};
use atcr_repo::Commit;

pub(super) async fn open(options: RepoOptions, clock: Arc<dyn Clock>) -> Result<HoldRepo, RepoError> {
    let RepoOptions {
        dir,
        did,
        signing_key,
        node_cache_bytes,
    } = options;
    let (owner, folder) = (did.clone(), dir.clone());
    let (lock, log) = blocking(move || {
        create_folder(&folder)?;
        let lock = Lock::take(&folder)?;
        Ok((lock, BlockLog::open(&folder, &owner)?))
    })
    .await?;
    let (index, state) = Index::open(&dir, log.log_id()).await?;
    let recovered = match recover(&log, &index, state).await {
        Ok(recovered) => recovered,
        Err(error) => {
            index.close().await;
            return Err(error);
        }
    };

    let tids = Arc::new(TidClock::new(Arc::clone(&clock)));
    if let Some(head) = &recovered.head {
        tids.advance_past(&head.rev);
    }
    let public_key = signing_key.public_key();
    let builder = CommitBuilder {
        did: did.clone(),
        signing_key,
        tids: Arc::clone(&tids),
        clock,
    };
    let store = Arc::new(Store {
        log,
        index,
        nodes: NodeCache::new(node_cache_bytes),
    });
    let content = match &recovered.head {
        None => Some(Content::empty()?),
        Some(head) if Commit::decode(&store.block(head.commit).await?)?.is_signed_by(&public_key) => None,
        Some(head) => {
            tracing::warn!(%did, commit = %head.commit, "another key signed the repository; it is signed anew");
            Some(Content::unchanged(head))
        }
    };
    let (head, log_end) = match (content, recovered.head) {
        (None, Some(head)) => (head, recovered.end),
        (None, None) => return Err(RepoError::corrupt("a repository without a commit")),
        (Some(content), prev) => commit(&store, &builder, prev.as_ref(), &content, recovered.end).await?,
    };

    let (seq, seq_receiver) = watch::channel(head.seq);
    let (head, head_receiver) = watch::channel(head);
    let pins = Pins::new(head_receiver);
    let (mailbox, messages) = mpsc::channel(MAILBOX);
    let writer = RepoWriter {
        store: Arc::clone(&store),
        builder,
        pins: pins.clone(),
        head,
        seq,
        log_end,
        indexed_end: log_end,
        failed: false,
    };
    let writer = tokio::spawn(writer.run(messages));
    Ok(HoldRepo {
        inner: Arc::new(Inner {
            did,
            public_key,
            tids,
            store,
            pins,
            seq: seq_receiver,
            mailbox,
            running: Mutex::new(Some((writer, lock))),
        }),
    })
}

/// A commit outside the writer: the first one, and one under a new key.
async fn commit(
    store: &Store,
    builder: &CommitBuilder,
    prev: Option<&Head>,
    content: &Content,
    log_end: u64,
) -> Result<(Head, u64), RepoError> {
    let mut frames = Vec::new();
    let head = builder.build(prev, content, log_end, &mut frames)?;
    let head = head.ok_or_else(|| RepoError::corrupt("a commit without records is too large"))?;
    let log = store.log.clone();
    let appended = blocking(move || Ok(log.append(log_end, &frames).map(|()| frames))).await?;
    let frames = appended.map_err(|(AppendError::Undone(error) | AppendError::Unknown(error))| error)?;
    let frame = Frame::parse(&frames).map_err(damage)?;
    store
        .index
        .apply(
            store.log.log_id(),
            &[PlacedFrame {
                position: log_end,
                frame,
            }],
            0,
        )
        .await?;
    Ok((head, log_end + frames.len() as u64))
}

/// A new folder is on the disk before anything in it is.
fn create_folder(dir: &Path) -> Result<(), RepoError> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(|error| disk("create", dir, error))?;
    let parent = dir
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(|error| disk("sync", parent, error))
}
