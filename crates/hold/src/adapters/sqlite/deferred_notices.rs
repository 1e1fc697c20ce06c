//! The table of notices that wait for promised layers.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_server::database::Database;
use atcr_server::port_call::PortCall;
use chrono::{DateTime, Utc};

use crate::manifests::{DeferralError, DeferredNotices, Notice};

/// [`DeferredNotices`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteDeferredNotices {
    database: Database,
}

impl SqliteDeferredNotices {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl DeferredNotices for SqliteDeferredNotices {
    async fn add(
        &self,
        owner: &Did,
        notice: &Notice,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<bool, DeferralError> {
        let adding = sqlx::query(
            "INSERT INTO deferred_notices (owner, notice, received_at) SELECT ?1, ?2, ?3 \
             WHERE (SELECT COUNT(*) FROM deferred_notices WHERE owner = ?1) < ?4",
        )
        .bind(owner.as_str().to_owned())
        .bind(serde_json::to_string(notice).map_err(DeferralError::Corrupt)?)
        .bind(now.timestamp_millis())
        .bind(limit);
        let call = PortCall::database("defer_notice");
        let done = call.run(self.database.execute_durably(adding)).await;
        Ok(done.map_err(failed)?.rows_affected() > 0)
    }

    async fn list(&self, after: i64, limit: u32) -> Result<Vec<i64>, DeferralError> {
        let listing = sqlx::query_scalar("SELECT id FROM deferred_notices WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(limit)
            .fetch_all(self.database.readers());
        let call = PortCall::database("list_deferred_notices");
        call.run(listing).await.map_err(failed)
    }

    async fn of_owner(&self, owner: &Did, limit: u32) -> Result<Vec<Notice>, DeferralError> {
        let listing = sqlx::query_scalar("SELECT notice FROM deferred_notices WHERE owner = ? LIMIT ?")
            .bind(owner.as_str())
            .bind(limit)
            .fetch_all(self.database.readers());
        let call = PortCall::database("list_deferred_notices_of_owner");
        let found: Vec<String> = call.run(listing).await.map_err(failed)?;
        found.iter().map(|json| notice(json)).collect()
    }

    async fn get(&self, id: i64) -> Result<Option<(Notice, DateTime<Utc>)>, DeferralError> {
        let getting = sqlx::query_as("SELECT notice, received_at FROM deferred_notices WHERE id = ?")
            .bind(id)
            .fetch_optional(self.database.readers());
        let call = PortCall::database("get_deferred_notice");
        let found: Option<(String, i64)> = call.run(getting).await.map_err(failed)?;
        let Some((json, millis)) = found else {
            return Ok(None);
        };
        Ok(Some((
            notice(&json)?,
            DateTime::from_timestamp_millis(millis).unwrap_or_default(),
        )))
    }
}

fn notice(json: &str) -> Result<Notice, DeferralError> {
    serde_json::from_str(json).map_err(DeferralError::Corrupt)
}

fn failed(error: sqlx::Error) -> DeferralError {
    DeferralError::Database(Box::new(error))
}
