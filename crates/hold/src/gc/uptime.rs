//! The hold's uptime: how long it has run, over restarts. Ages of condemnations are measured by it, so that no clock that is set makes
//! a blob old.

use std::io;
use std::sync::Arc;

use tokio::sync::Mutex;
use uuid::Uuid;

use super::ports::{GcTable, SaveMark, SavedClock, Ticks};
use crate::blobs::SessionsError;

/// Where the uptime is saved.
#[derive(Debug)]
struct Saves {
    table: Arc<dyn GcTable>,
    mark: Arc<dyn SaveMark>,
}

/// The uptime.
#[derive(Clone, Debug)]
pub(super) struct Uptime {
    ticks: Arc<dyn Ticks>,
    /// What it was when `began` was read off the ticks.
    base: u64,
    began: u64,
    boot: String,
    /// One save at a time: row and mark have to agree in the end.
    saves: Arc<Mutex<Saves>>,
}

impl Uptime {
    /// Goes on from what was saved. Where commits may have been lost or promises been made that left no trace here (the machine was
    /// started anew, the database or the repository put back from a copy, another program wrote to the repository, the backup of the
    /// repository has more than its folder, or the process ended within a save), all ages restart at 0: every promise made before now is then
    /// followed by its manifest before the second reading begins.
    pub(super) async fn open(
        table: Arc<dyn GcTable>,
        mark: Arc<dyn SaveMark>,
        ticks: Arc<dyn Ticks>,
        boot: String,
        head: &str,
        is_older_copy: bool,
    ) -> Result<Self, SessionsError> {
        let saved = table.clock().await?;
        let base = saved.as_ref().map_or(0, |saved| saved.uptime);
        table.bound_ages(base).await?;
        let marked = mark.read().await.map_err(unmarked)?;
        let is_continuous = !is_older_copy
            && saved.is_none_or(|saved| {
                saved.boot == boot && saved.head == head && marked.is_some_and(|mark| mark == saved.mark)
            });
        if !is_continuous {
            tracing::info!(
                "ages of condemned blobs start anew: the machine or another program was at work in between, or files were put back"
            );
            table.restart_ages(base).await?;
        }
        let uptime = Self {
            began: ticks.seconds(),
            ticks,
            base,
            boot,
            saves: Arc::new(Mutex::new(Saves { table, mark })),
        };
        uptime.save(head).await?;
        Ok(uptime)
    }

    pub(super) fn now(&self) -> u64 {
        self.base + self.ticks.seconds().saturating_sub(self.began)
    }

    pub(super) async fn save(&self, head: &str) -> Result<(), SessionsError> {
        let saves = self.saves.lock().await;
        let saved = SavedClock {
            uptime: self.now(),
            boot: self.boot.clone(),
            head: head.to_owned(),
            mark: Uuid::new_v4().to_string(),
        };
        saves.table.save_clock(&saved).await?;
        saves.mark.write(&saved.mark).await.map_err(unmarked)
    }
}

fn unmarked(error: io::Error) -> SessionsError {
    SessionsError::Database(Box::new(error))
}
