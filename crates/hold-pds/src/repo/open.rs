//! Opening: lock, engine, index, writer.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use atcr_atproto::clock::{Clock, TidClock};
use tokio::sync::{mpsc, watch};

use super::task::{MAILBOX, Published, WriterTask};
use super::{HoldRepo, Inner, RepoOptions};
use crate::disk::RealDisk;
use crate::engine::{Engine, EngineOptions};
use crate::error::RepoError;
use crate::index::Index;
use crate::lock::Lock;
use crate::offload::blocking;

pub(super) async fn open(options: RepoOptions, clock: Arc<dyn Clock>) -> Result<HoldRepo, RepoError> {
    let (dir, did) = (options.dir.clone(), options.did.clone());
    let events = options.events;
    let public_key = options.signing_key.public_key();
    let tids = Arc::new(TidClock::new(Arc::clone(&clock)));
    let engine_options = EngineOptions::of(options, clock, Arc::clone(&tids));
    let folder = dir.clone();
    let (lock, engine) = blocking(move || {
        let disk = RealDisk::open(&folder)?;
        let lock = Lock::take(&folder)?;
        Ok((lock, Engine::open(Arc::new(disk), engine_options)?))
    })
    .await?;
    let index = Index::open(&dir, engine.view().log_id).await?;
    if let Err(error) = index.follow(engine.view()).await {
        index.close().await;
        return Err(error);
    }

    let was_unknown = engine.is_unknown();
    let found_seq = engine.found_seq();
    let is_older_copy = engine.is_older_copy();
    let healthy = Arc::new(AtomicBool::new(true));
    let index_lag = Arc::new(AtomicU64::new(0));
    let (indexed, indexed_receiver) = watch::channel(engine.view().last.0);
    let (seq, seq_receiver) = watch::channel(engine.view().last.0);
    let (view, view_receiver) = watch::channel(Arc::new(engine.view().clone()));
    let (mailbox, messages) = mpsc::channel(MAILBOX);
    let published = Published {
        view,
        seq,
        healthy: Arc::clone(&healthy),
        index_lag: Arc::clone(&index_lag),
        indexed,
    };
    let task = WriterTask::new(engine, index.clone(), published, lock, events);
    let running = tokio::spawn(task.run(messages));
    Ok(HoldRepo {
        inner: Arc::new(Inner {
            did,
            public_key: RwLock::new(public_key),
            tids,
            was_unknown,
            found_seq,
            is_older_copy,
            index,
            healthy,
            index_lag,
            indexed: indexed_receiver,
            view: view_receiver,
            seq: seq_receiver,
            mailbox,
            halted: OnceLock::new(),
            newcomers: OnceLock::new(),
            running: Mutex::new(Some(running)),
        }),
    })
}
