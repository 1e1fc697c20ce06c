//! Brings the index up to date with the log: missing changes are read from the log, or everything from the repository.

use std::collections::HashMap;

use atcr_atproto::syntax::Cid;
use atcr_repo::car;
use atcr_repo::firehose::{CommitEvent, Message};
use atcr_repo::mst::{Change, range};
use bytes::Bytes;

use super::{Index, RecordChange, State, changes, is_indexed};
use crate::blocks::View;
use crate::error::RepoError;
use crate::log::{EntryHeader, Kind};
use crate::offload::blocking;

/// Records, or bytes of events, of one transaction.
const RECORDS: usize = 5000;
const EVENT_BYTES: usize = 8 * 1024 * 1024;

impl Index {
    /// Makes the tables say what the repository of `view` says.
    ///
    /// # Errors
    /// [`RepoError::Corrupt`] if the index knows events that the log does not have: acknowledged writes are missing then.
    pub(crate) async fn follow(&self, view: &View) -> Result<(), RepoError> {
        let oldest = view.segments.first().map_or(u32::MAX, |segment| segment.number);
        match self.state().await? {
            Some(state) if state.position > view.end || state.seq > view.last.0 => Err(RepoError::corrupt(
                "the index knows events that the log does not have: acknowledged writes are missing; restore the log, or \
                 remove index.sqlite to go on without those writes",
            )),
            Some(state) if state.position.segment >= oldest => self.catch_up(view, state).await,
            _ => self.rebuild(view).await,
        }
    }

    async fn catch_up(&self, view: &View, state: State) -> Result<(), RepoError> {
        let mut from = state;
        while from.position < view.end {
            let (reading, start) = (view.clone(), from);
            let (changes, next) = blocking(move || read_changes(&reading, start)).await?;
            if next.position == from.position {
                break;
            }
            from = next;
            if !changes.is_empty() {
                self.apply(&changes, from).await?;
            }
        }
        Ok(())
    }

    /// Fills the tables from the records.
    async fn rebuild(&self, view: &View) -> Result<(), RepoError> {
        // The old rows go with the old file; of a rebuild that was cut off, with it too.
        let mut transaction = self.writer.begin().await?;
        sqlx::raw_sql("DELETE FROM layers; DELETE FROM crew; DELETE FROM user_blobs; DELETE FROM user_usage; DELETE FROM blob_refs; \
             DELETE FROM state")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let mut total = 0;
        let reading = view.clone();
        let collections = blocking(move || reading.collections()).await?;
        for collection in collections.into_iter().filter(|name| is_indexed(name)) {
            let mut after = format!("{collection}/");
            loop {
                let (reading, name, start) = (view.clone(), collection.clone(), after.clone());
                let page = blocking(move || read_page(&reading, &name, &start)).await?;
                let Some(last) = page.last() else {
                    break;
                };
                after = format!("{collection}/{}", last.rkey);
                total += page.len();
                let mut transaction = self.writer.begin().await?;
                super::holdings::apply(&mut transaction, &page).await?;
                transaction.commit().await?;
                if total % (20 * RECORDS) == 0 {
                    tracing::info!(records = total, "the index is being rebuilt");
                }
            }
        }
        if total > 0 {
            tracing::info!(records = total, "the index was rebuilt");
        }
        self.apply(&[], state_of(view)).await
    }
}

/// How far an index of this view is.
pub(crate) fn state_of(view: &View) -> State {
    State {
        position: view.end,
        seq: view.last.0,
    }
}

fn read_page(view: &View, collection: &str, after: &str) -> Result<Vec<RecordChange>, RepoError> {
    let prefix = format!("{collection}/");
    let keys = range::ascending(&view.tree()?, view, after, Some(&prefix), RECORDS)?;
    let change = |(key, cid): (std::sync::Arc<str>, Cid)| {
        Ok(RecordChange {
            collection: collection.to_owned(),
            rkey: key.strip_prefix(&prefix).unwrap_or_default().to_owned(),
            is_new: true,
            content: Some(view.block(&cid)?),
        })
    };
    keys.into_iter().map(change).collect()
}

/// Changes of some events, and where the next ones are.
fn read_changes(view: &View, from: State) -> Result<(Vec<RecordChange>, State), RepoError> {
    let mut reader = view.reader(from.position);
    let mut found = Vec::new();
    let mut read = 0;
    let mut state = from;
    while let Some(entry) = reader.next_entry()? {
        read += entry.bytes.len();
        state.seq = entry.header.seq;
        if entry.header.kind == Kind::Commit {
            found.extend(changes_of(&entry.header, entry.bytes)?);
        }
        if read > EVENT_BYTES {
            break;
        }
    }
    state.position = reader.position();
    Ok((found, state))
}

fn changes_of(header: &EntryHeader, entry: &[u8]) -> Result<Vec<RecordChange>, RepoError> {
    let frame = header.frame(entry).map_err(|damage| {
        RepoError::corrupt(format!("the log is damaged in {}: {}", header.position, damage.0))
    })?;
    let Message::Commit(event) = Message::decode(frame)? else {
        return Err(RepoError::corrupt(
            "an event is of another kind than the log says",
        ));
    };
    let contents = contents(&event);
    let ops: Vec<Change> = event
        .ops
        .iter()
        .map(|op| Change {
            key: (&*op.path).into(),
            old: op.prev,
            new: op.cid,
        })
        .collect();
    Ok(changes(&ops, |cid| contents.get(cid).cloned()).collect())
}

fn contents(event: &CommitEvent) -> HashMap<Cid, Bytes> {
    let mut contents = HashMap::new();
    let mut position = car::header_len(&event.blocks).unwrap_or(usize::MAX);
    while let Some(section) = car::read_block(&event.blocks, position) {
        position = section.content.end;
        contents.insert(section.cid, event.blocks.slice(section.content));
    }
    contents
}
