//! Events: rows say where in the log each commit is, the log says the rest.

use super::blocks::number;
use super::frame::Frame;
use super::{BlockLog, Index, to_sql};
use crate::error::RepoError;
use crate::sequencer::{CommitEvent, RecordOp};
use atcr_repo::car;

/// Where an event's frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventRow {
    position: u64,
    length: usize,
}

impl Index {
    pub(crate) async fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<EventRow>, RepoError> {
        let rows = sqlx::query("SELECT position, length FROM events WHERE seq > ? ORDER BY seq LIMIT ?")
            .bind(to_sql(seq))
            .bind(to_sql(limit as u64))
            .fetch_all(self.readers())
            .await?;
        let row = |row| {
            let length = number(row, "events", "length")?;
            Ok(EventRow {
                position: number(row, "events", "position")?,
                length: usize::try_from(length).map_err(|_| super::bad_row("events", "length"))?,
            })
        };
        rows.iter().map(row).collect()
    }
}

impl BlockLog {
    /// The event of one row.
    pub(crate) async fn read_event(&self, row: EventRow) -> Result<CommitEvent, RepoError> {
        let bytes = self.read_async(row.position, row.length).await?;
        let frame = Frame::parse(&bytes).map_err(|damage| self.corrupt(damage.0))?;
        let blocks = frame.bytes().get(frame.blocks()).unwrap_or_default();
        let meta = &frame.meta;
        let mut car = Vec::with_capacity(blocks.len() + 64);
        car::write_header(&mut car, meta.commit);
        car.extend_from_slice(blocks);
        let syntax = |_| self.corrupt("a commit's description is malformed");
        Ok(CommitEvent {
            seq: meta.seq,
            time: meta.time.parse().map_err(syntax)?,
            commit: meta.commit,
            rev: meta.rev.parse().map_err(syntax)?,
            since: meta
                .since
                .as_ref()
                .map(|since| since.parse())
                .transpose()
                .map_err(syntax)?,
            prev_data: meta.prev_data,
            ops: meta
                .ops
                .iter()
                .map(|op| RecordOp {
                    path: op.path.clone(),
                    cid: op.cid,
                    prev: op.prev,
                })
                .collect(),
            blocks: car.into(),
        })
    }
}
