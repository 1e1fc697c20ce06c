//! `RevisionStore` in SQLite.
//!
//! It is in the scratch file: after a power failure the newest revisions may be those of some commits ago, and without the file there
//! are none until accounts are looked at again.

use async_trait::async_trait;
use atcr_atproto::syntax::{Did, Tid};
use atcr_registry::account::ports::RevisionStore;
use atcr_registry::error::RegistryError;

use super::{Database, failed};

/// Accounts remembered, those whose revision moved last: some 60 MiB.
const ACCOUNTS: i64 = 500_000;

/// The newest revisions of accounts.
#[derive(Clone, Debug)]
pub struct SqliteRevisions {
    database: Database,
}

impl SqliteRevisions {
    /// Keeps them in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl RevisionStore for SqliteRevisions {
    async fn newest(&self, did: &Did) -> Result<Option<Tid>, RegistryError> {
        let rev: Option<String> = sqlx::query_scalar("SELECT rev FROM account_revision WHERE did = ?")
            .bind(did.as_str())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        rev.map(|rev| {
            rev.parse().map_err(|_| RegistryError::Corrupt {
                what: "account_revision.rev".to_owned(),
            })
        })
        .transpose()
    }

    async fn remember(&self, did: &Did, rev: &Tid) -> Result<(), RegistryError> {
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        // A new row, so that the ids stay in the order in which accounts moved; revisions sort as text.
        sqlx::query("DELETE FROM account_revision WHERE did = ? AND rev < ?")
            .bind(did.as_str())
            .bind(rev.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO account_revision (did, rev) VALUES (?, ?) ON CONFLICT (did) DO NOTHING")
            .bind(did.as_str())
            .bind(rev.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::query("DELETE FROM account_revision WHERE id <= (SELECT max(id) FROM account_revision) - ?")
            .bind(ACCOUNTS)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(())
    }
}
