//! The life of a listing in the account index: staged beside what is read, published at once, swept when it was replaced.
//!
//! Everything here but publishing is many short transactions: all tables share the writer's one connection.

use atcr_atproto::syntax::Did;
use atcr_registry::account::ports::{AccountChange, ListedAs, ListingId, RecordsPage};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::SqliteError;
use super::account_index::SqliteAccountIndex;
use super::account_rows::{put_manifest, put_tag, write_change};

/// Rows written or removed in one transaction: some ten milliseconds.
const ROWS_AT_ONCE: usize = 1_000;

/// Records of all accounts that are kept, in bytes as they were read: 1 GiB. The rows take up to twice as much of the disk.
const KEPT_BYTES: i64 = 1024 * 1024 * 1024;

/// What a row's place in the order of use is set to.
macro_rules! next_use {
    () => {
        "(SELECT coalesce(max(last_use), 0) + 1 FROM listing)"
    };
}

/// The published listing of `did`, made empty if there is none, marked as used. `size_bytes` are added to its size.
pub(super) async fn published(
    connection: &mut SqliteConnection,
    did: &Did,
    size_bytes: usize,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(concat!(
        "INSERT INTO listing (did, state, size_bytes, last_use) VALUES (?1, 'published', ?2, ",
        next_use!(),
        ") ON CONFLICT (did) WHERE state = 'published' DO UPDATE SET size_bytes = size_bytes + ?2, last_use = ",
        next_use!(),
        " RETURNING id"
    ))
    .bind(did.as_str())
    .bind(i64::try_from(size_bytes).unwrap_or(i64::MAX))
    .fetch_one(connection)
    .await
}

impl SqliteAccountIndex {
    pub(super) async fn insert_listing(&self, did: &Did) -> Result<ListingId, SqliteError> {
        let id = sqlx::query_scalar("INSERT INTO listing (did, state) VALUES (?, 'staged') RETURNING id")
            .bind(did.as_str())
            .fetch_one(self.database.writer())
            .await?;
        Ok(ListingId(id))
    }

    pub(super) async fn stage_page(
        &self,
        listing: ListingId,
        page: &RecordsPage,
    ) -> Result<bool, SqliteError> {
        let Some(mut transaction) = self.staging(listing).await? else {
            return Ok(false);
        };
        let mut rows = 0;
        for manifest in &page.manifests {
            rows += put_manifest(&mut transaction, listing.0, manifest).await?;
            if rows >= ROWS_AT_ONCE {
                transaction.commit().await?;
                let Some(next) = self.staging(listing).await? else {
                    return Ok(false);
                };
                (transaction, rows) = (next, 0);
            }
        }
        for tag in &page.tags {
            put_tag(&mut transaction, listing.0, tag).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn stage_own(
        &self,
        listing: ListingId,
        change: &AccountChange,
    ) -> Result<bool, SqliteError> {
        let Some(mut transaction) = self.staging(listing).await? else {
            return Ok(false);
        };
        write_change(&mut transaction, listing.0, change).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// A transaction for writing to a listing; `None` when it is gone.
    async fn staging(&self, listing: ListingId) -> Result<Option<Transaction<'static, Sqlite>>, SqliteError> {
        let mut transaction = self.database.writer().begin().await?;
        let is_staged: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM listing WHERE id = ? AND state = 'staged')")
                .bind(listing.0)
                .fetch_one(&mut *transaction)
                .await?;
        Ok(is_staged.then_some(transaction))
    }

    pub(super) async fn publish_listing(
        &self,
        listing: ListingId,
        listed_as: &ListedAs,
        size_bytes: u64,
    ) -> Result<bool, SqliteError> {
        let Some(mut transaction) = self.staging(listing).await? else {
            return Ok(false);
        };
        sqlx::query(
            "UPDATE listing SET state = 'discarded' \
             WHERE state = 'published' AND did = (SELECT did FROM listing WHERE id = ?)",
        )
        .bind(listing.0)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(concat!(
            "UPDATE listing SET state = 'published', synced_rev = ?, is_whole = ?, size_bytes = ?, last_use = ",
            next_use!(),
            " WHERE id = ?"
        ))
        .bind(&listed_as.rev)
        .bind(listed_as.is_whole)
        .bind(i64::try_from(size_bytes).unwrap_or(i64::MAX))
        .bind(listing.0)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn staged_listings(&self) -> Result<Vec<ListingId>, SqliteError> {
        let staged: Vec<i64> = sqlx::query_scalar("SELECT id FROM listing WHERE state = 'staged'")
            .fetch_all(self.database.readers())
            .await?;
        Ok(staged.into_iter().map(ListingId).collect())
    }

    pub(super) async fn sweep_listings(&self, left: &[ListingId]) -> Result<(), SqliteError> {
        for listing in left {
            sqlx::query("UPDATE listing SET state = 'discarded' WHERE id = ? AND state = 'staged'")
                .bind(listing.0)
                .execute(self.database.writer())
                .await?;
        }
        self.discard_unused().await?;
        let discarded: Vec<i64> = sqlx::query_scalar("SELECT id FROM listing WHERE state = 'discarded'")
            .fetch_all(self.database.readers())
            .await?;
        for listing in discarded {
            // Blobs and children first, so that a manifest takes no more along than itself.
            for statement in [
                "DELETE FROM manifest_blob WHERE (listing, digest, manifest) IN \
                 (SELECT listing, digest, manifest FROM manifest_blob WHERE listing = ? LIMIT ?)",
                "DELETE FROM manifest_child WHERE (listing, digest, manifest) IN \
                 (SELECT listing, digest, manifest FROM manifest_child WHERE listing = ? LIMIT ?)",
                "DELETE FROM manifest WHERE id IN (SELECT id FROM manifest WHERE listing = ? LIMIT ?)",
                "DELETE FROM tag WHERE (listing, rkey) IN (SELECT listing, rkey FROM tag WHERE listing = ? LIMIT ?)",
            ] {
                loop {
                    let removed = sqlx::query(statement)
                        .bind(listing)
                        .bind(i64::try_from(ROWS_AT_ONCE).unwrap_or(i64::MAX))
                        .execute(self.database.writer())
                        .await?;
                    if removed.rows_affected() == 0 {
                        break;
                    }
                }
            }
            sqlx::query("DELETE FROM listing WHERE id = ?")
                .bind(listing)
                .execute(self.database.writer())
                .await?;
        }
        Ok(())
    }

    /// Discards the accounts longest unused when all of them have grown too large.
    async fn discard_unused(&self) -> Result<(), SqliteError> {
        let kept: i64 = sqlx::query_scalar(
            "SELECT CAST(coalesce(sum(size_bytes), 0) AS INTEGER) FROM listing WHERE state = 'published'",
        )
        .fetch_one(self.database.readers())
        .await?;
        if kept > KEPT_BYTES {
            let discarded = sqlx::query(
                "UPDATE listing SET state = 'discarded' WHERE state = 'published' AND id IN ( \
                     SELECT id FROM ( \
                         SELECT id, sum(size_bytes) OVER (ORDER BY last_use DESC, id DESC) AS total \
                         FROM listing WHERE state = 'published' \
                     ) WHERE total > ? \
                 )",
            )
            .bind(KEPT_BYTES)
            .execute(self.database.writer())
            .await?;
            tracing::info!(
                accounts = discarded.rows_affected(),
                "the accounts longest unused are no longer indexed"
            );
        }
        Ok(())
    }
}
