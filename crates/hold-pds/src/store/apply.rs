//! From a commit to rows. The writer does this after each sync, recovery for what the index lacks: the same code, so that
//! an index made anew is the index that was.

use std::collections::HashMap;

use atcr_atproto::syntax::{Cid, Tid};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::frame::{CommitMeta, Damage, Frame, MetaOp};
use super::hold_index::{self, RecordChange};
use super::index::{State, set_state};
use super::{Index, blocks, to_sql};
use crate::error::RepoError;
use crate::head::Head;

/// Rows of one statement: far below SQLite's limit of 32,766 values.
pub(super) const ROWS_PER_QUERY: usize = 500;

/// A frame and where it lies in the log.
#[derive(Debug)]
pub(crate) struct PlacedFrame<'a> {
    pub(crate) position: u64,
    pub(crate) frame: Frame<'a>,
}

impl Index {
    /// Indexes `frames`, which follow each other in the log, in one transaction. Rows of blocks that a commit up to
    /// `purge_bound` took out go for good. Returns the newest head.
    pub(crate) async fn apply(
        &self,
        log_id: &[u8],
        frames: &[PlacedFrame<'_>],
        purge_bound: u64,
    ) -> Result<Option<Head>, RepoError> {
        let Some(last) = frames.last() else {
            return Ok(None);
        };
        let head = head_of(&last.frame.meta)?;
        let mut transaction = self.writer().begin().await?;
        for placed in frames {
            apply_frame(&mut transaction, placed).await?;
        }
        blocks::purge_removed(&mut transaction, purge_bound).await?;
        let state = State {
            log_id: log_id.to_vec(),
            indexed_bytes: last.position + last.frame.len() as u64,
            last_frame: last.position,
            head: head.clone(),
        };
        set_state(&mut transaction, &state).await?;
        transaction.commit().await?;
        Ok(Some(head))
    }
}

pub(crate) fn head_of(meta: &CommitMeta) -> Result<Head, RepoError> {
    let rev: Tid = meta
        .rev
        .parse()
        .map_err(|_| damage(Damage("a commit's revision is not a TID")))?;
    Ok(Head {
        seq: meta.seq,
        commit: meta.commit,
        rev,
        data: meta.data,
    })
}

pub(crate) fn damage(damage: Damage) -> RepoError {
    RepoError::corrupt(damage.0)
}

async fn apply_frame(connection: &mut SqliteConnection, placed: &PlacedFrame<'_>) -> Result<(), RepoError> {
    let PlacedFrame { position, frame } = placed;
    let meta = &frame.meta;
    sqlx::query("INSERT INTO events (seq, rev, position, length) VALUES (?, ?, ?, ?)")
        .bind(to_sql(meta.seq))
        .bind(&meta.rev)
        .bind(to_sql(*position))
        .bind(to_sql(frame.len() as u64))
        .execute(&mut *connection)
        .await?;

    let sections = frame.new_blocks().map_err(damage)?;
    for sections in sections.chunks(ROWS_PER_QUERY) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO blocks (cid, position, length, seq) ");
        query.push_values(sections, |mut row, section| {
            row.push_bind(section.cid.to_bytes())
                .push_bind(to_sql(position + section.content.start as u64))
                .push_bind(to_sql(section.content.len() as u64))
                .push_bind(to_sql(meta.seq));
        });
        query.push(
            " ON CONFLICT (cid) DO UPDATE SET position = excluded.position, length = excluded.length,
              seq = excluded.seq, removed_seq = NULL",
        );
        query.build().execute(&mut *connection).await?;
    }

    let contents: HashMap<Cid, &[u8]> = sections
        .iter()
        .filter_map(|section| Some((section.cid, frame.bytes().get(section.content.clone())?)))
        .collect();
    apply_ops(connection, &meta.ops, meta.seq, &contents).await?;
    for cids in meta.removed.chunks(ROWS_PER_QUERY) {
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE blocks SET removed_seq = ");
        query.push_bind(to_sql(meta.seq)).push(" WHERE cid IN (");
        let mut names = query.separated(", ");
        for cid in cids {
            names.push_bind(cid.to_bytes());
        }
        query.push(")").build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn apply_ops(
    connection: &mut SqliteConnection,
    ops: &[MetaOp],
    seq: u64,
    contents: &HashMap<Cid, &[u8]>,
) -> Result<(), RepoError> {
    let mut written = Vec::new();
    let mut changed = Vec::new();
    for op in ops {
        let (collection, rkey) = op
            .path
            .split_once('/')
            .ok_or(damage(Damage("a path without a collection")))?;
        let change = RecordChange {
            collection,
            rkey,
            is_new: op.prev.is_none(),
            content: op.cid.and_then(|cid| contents.get(&cid).copied()),
        };
        match op.cid {
            Some(cid) => written.push((collection, rkey, cid)),
            None => {
                sqlx::query("DELETE FROM records WHERE collection = ? AND rkey = ?")
                    .bind(collection)
                    .bind(rkey)
                    .execute(&mut *connection)
                    .await?;
            }
        }
        changed.push(change);
    }
    for rows in written.chunks(ROWS_PER_QUERY) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO records (collection, rkey, cid) ");
        query.push_values(rows, |mut row, (collection, rkey, cid)| {
            row.push_bind(collection)
                .push_bind(rkey)
                .push_bind(cid.to_bytes());
        });
        query.push(" ON CONFLICT (collection, rkey) DO UPDATE SET cid = excluded.cid");
        query.build().execute(&mut *connection).await?;
    }
    for prev in ops.iter().filter_map(|op| op.prev) {
        // Another record may say the same.
        sqlx::query(
            "UPDATE blocks SET removed_seq = ?1
             WHERE cid = ?2 AND NOT EXISTS (SELECT 1 FROM records WHERE cid = ?2)",
        )
        .bind(to_sql(seq))
        .bind(prev.to_bytes())
        .execute(&mut *connection)
        .await?;
    }
    hold_index::apply(connection, &changed).await
}
