//! From a block's name to its place in the log.

use atcr_atproto::syntax::Cid;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::{Index, bad_row, to_sql};
use crate::error::RepoError;

/// Names of one query. SQLite's own limit is 32,766.
const NAMES_PER_QUERY: usize = 500;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) cid: Cid,
    pub(crate) position: u64,
    pub(crate) length: usize,
    /// The newest commit that brought the block in.
    pub(crate) seq: u64,
}

impl Location {
    /// Of a row with `cid`, `position`, `length` and `seq`.
    pub(crate) fn from_row(row: &SqliteRow) -> Result<Self, RepoError> {
        Ok(Self {
            cid: cid_column(row, "cid")?,
            position: number(row, "blocks", "position")?,
            length: usize::try_from(number(row, "blocks", "length")?)
                .map_err(|_| bad_row("blocks", "length"))?,
            seq: number(row, "blocks", "seq")?,
        })
    }
}

pub(crate) fn cid_column(row: &SqliteRow, column: &'static str) -> Result<Cid, RepoError> {
    Cid::try_from(row.try_get::<&[u8], _>(column)?).map_err(|_| bad_row("blocks", column))
}

pub(crate) fn number(row: &SqliteRow, table: &'static str, column: &'static str) -> Result<u64, RepoError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| bad_row(table, column))
}

impl Index {
    /// Where a block is, also one that was taken out a moment ago.
    pub(crate) async fn locate(&self, cid: &Cid) -> Result<Option<Location>, RepoError> {
        let row = sqlx::query("SELECT cid, position, length, seq FROM blocks WHERE cid = ?")
            .bind(cid.to_bytes())
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(Location::from_row).transpose()
    }

    /// Where blocks are, in any order; those that are unknown are left out. With `current`, those that were taken out
    /// are unknown too.
    pub(crate) async fn locate_all(&self, cids: &[Cid], current: bool) -> Result<Vec<Location>, RepoError> {
        let mut locations = Vec::with_capacity(cids.len());
        for cids in cids.chunks(NAMES_PER_QUERY) {
            let mut query =
                QueryBuilder::<Sqlite>::new("SELECT cid, position, length, seq FROM blocks WHERE cid IN (");
            let mut names = query.separated(", ");
            for cid in cids {
                names.push_bind(cid.to_bytes());
            }
            query.push(")");
            if current {
                query.push(" AND removed_seq IS NULL");
            }
            for row in query.build().fetch_all(self.readers()).await? {
                locations.push(Location::from_row(&row)?);
            }
        }
        Ok(locations)
    }

    /// The newest commit that is not newer than `rev`; 0 if all are.
    pub(crate) async fn seq_at(&self, rev: &str) -> Result<u64, RepoError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM events WHERE rev <= ?")
            .bind(rev)
            .fetch_one(self.readers())
            .await?;
        Ok(seq.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0))
    }

    /// How many of the records the index has with that content, and as of which commit.
    pub(crate) async fn count_matching(
        &self,
        records: &[(String, String, Cid)],
    ) -> Result<(usize, u64), RepoError> {
        let mut query =
            QueryBuilder::<Sqlite>::new("SELECT count(*) AS found, (SELECT seq FROM state) AS seq FROM (");
        query.push_values(records, |mut row, (collection, rkey, cid)| {
            row.push_bind(collection)
                .push_bind(rkey)
                .push_bind(cid.to_bytes());
        });
        query.push(
            ") AS wanted CROSS JOIN records WHERE collection = column1 AND rkey = column2 AND cid = column3",
        );
        let row = query.build().fetch_one(self.readers()).await?;
        let found =
            usize::try_from(number(&row, "records", "found")?).map_err(|_| bad_row("records", "found"))?;
        Ok((found, number(&row, "state", "seq")?))
    }
}

/// Bound for the purge of rows that were taken out: see [`super::Pins`].
pub(crate) async fn purge_removed(
    connection: &mut sqlx::SqliteConnection,
    up_to_seq: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM blocks WHERE removed_seq <= ?")
        .bind(to_sql(up_to_seq))
        .execute(connection)
        .await?;
    Ok(())
}
