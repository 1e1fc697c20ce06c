//! The hold's uptime: how long it has run, over restarts. Ages of condemnations are measured by it, so that no clock that is set makes
//! a blob old.

use std::sync::Arc;

use super::ports::{GcTable, SavedClock, Ticks};
use crate::blobs::SessionsError;

/// The uptime.
#[derive(Clone, Debug)]
pub(super) struct Uptime {
    ticks: Arc<dyn Ticks>,
    /// What it was when `began` was read off the ticks.
    base: u64,
    began: u64,
    boot: String,
}

impl Uptime {
    /// Goes on from what was saved. Where commits may have been lost or promises been made that left no trace here (the machine was
    /// started anew, the database restored, another program wrote to the repository, the backup of the repository has more than its
    /// folder), all ages restart at 0: every promise made before now is then followed by its manifest before the second reading begins.
    pub(super) async fn open(
        table: &dyn GcTable,
        ticks: Arc<dyn Ticks>,
        boot: String,
        head: &str,
        is_older_copy: bool,
    ) -> Result<Self, SessionsError> {
        let saved = table.clock().await?;
        let base = saved.as_ref().map_or(0, |saved| saved.uptime);
        table.bound_ages(base).await?;
        let is_continuous =
            !is_older_copy && saved.is_none_or(|saved| saved.boot == boot && saved.head == head);
        if !is_continuous {
            tracing::info!(
                "ages of condemned blobs start anew: the machine or another program was at work in between"
            );
            table.restart_ages(base).await?;
        }
        let uptime = Self {
            began: ticks.seconds(),
            ticks,
            base,
            boot,
        };
        uptime.save(table, head).await?;
        Ok(uptime)
    }

    pub(super) fn now(&self) -> u64 {
        self.base + self.ticks.seconds().saturating_sub(self.began)
    }

    pub(super) async fn save(&self, table: &dyn GcTable, head: &str) -> Result<(), SessionsError> {
        table
            .save_clock(&SavedClock {
                uptime: self.now(),
                boot: self.boot.clone(),
                head: head.to_owned(),
            })
            .await
    }
}
