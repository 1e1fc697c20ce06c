//! The table of users who asked to be erased.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_server::database::Database;
use atcr_server::port_call::PortCall;
use chrono::{DateTime, Utc};

use crate::user_data::{Erasures, ErasuresError};

/// [`Erasures`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteErasures {
    database: Database,
}

impl SqliteErasures {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Erasures for SqliteErasures {
    async fn note(&self, user: &Did, at: DateTime<Utc>) -> Result<(), ErasuresError> {
        for (name, change) in [
            (
                "forget_deferred_notices",
                "DELETE FROM deferred_notices WHERE owner = ?",
            ),
            ("forget_handle", "DELETE FROM known_handles WHERE did = ?"),
            // What was pushed by now keeps nothing, also if the user joins again.
            (
                "erase_manifests",
                "UPDATE gc_manifests SET erased = 1 WHERE account = (SELECT id FROM gc_accounts WHERE did = ?)",
            ),
        ] {
            let changing = sqlx::query(change)
                .bind(user.as_str())
                .execute(self.database.writer());
            let call = PortCall::database(name);
            call.run(changing).await.map_err(failed)?;
        }
        let noting = sqlx::query(
            "INSERT INTO erasures (did, erased_at) VALUES (?, ?)
             ON CONFLICT (did) DO UPDATE SET erased_at = max(erased_at, excluded.erased_at)",
        )
        .bind(user.as_str().to_owned())
        .bind(at.timestamp_millis());
        let call = PortCall::database("note_erasure");
        call.run(self.database.execute_durably(noting))
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn erased_at(&self, user: &Did) -> Result<Option<DateTime<Utc>>, ErasuresError> {
        let getting = sqlx::query_scalar("SELECT erased_at FROM erasures WHERE did = ?")
            .bind(user.as_str())
            .fetch_optional(self.database.readers());
        let call = PortCall::database("erased_at");
        let millis: Option<i64> = call.run(getting).await.map_err(failed)?;
        Ok(millis.and_then(DateTime::from_timestamp_millis))
    }
}

fn failed(error: sqlx::Error) -> ErasuresError {
    ErasuresError(Box::new(error))
}
