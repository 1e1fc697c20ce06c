//! Which of several processes does what only one has to. The clock is the database's, so that nobody compares their own.

use std::time::Duration;

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::ports::Leases;

use crate::{PostgresIndex, codec, failed};

#[async_trait]
impl Leases for PostgresIndex {
    async fn hold_lease(&self, name: &str, holder: &str, time: Duration) -> Result<bool, IndexError> {
        let held = sqlx::query(
            "INSERT INTO lease AS l (name, holder, expires_at) VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp()",
        )
        .bind(codec::text(name))
        .bind(codec::text(holder))
        .bind(time.as_secs_f64())
        .execute(&self.leases)
        .await
        .map_err(failed)?;
        Ok(held.rows_affected() == 1)
    }

    async fn give_up_lease(&self, name: &str, holder: &str) -> Result<(), IndexError> {
        sqlx::query("DELETE FROM lease WHERE name = $1 AND holder = $2")
            .bind(codec::text(name))
            .bind(codec::text(holder))
            .execute(&self.leases)
            .await
            .map_err(failed)?;
        Ok(())
    }
}
