//! The table of blobs that nothing names.

use async_trait::async_trait;
use atcr_oci::Digest;
use atcr_server::database::Database;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::digests::{digest, failed, json_of, number, time};
use crate::blobs::{Condemned, SessionsError, Standing, StandingTable};

/// [`StandingTable`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteStandings {
    database: Database,
}

impl SqliteStandings {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

fn condemned(row: &SqliteRow) -> Result<Condemned, SessionsError> {
    Ok(Condemned {
        since: number(row, "since")?,
        run: row.try_get("run").map_err(failed)?,
        touches: u32::try_from(number(row, "touches")?).unwrap_or(u32::MAX),
    })
}

#[async_trait]
impl StandingTable for SqliteStandings {
    async fn load(&self) -> Result<Vec<(Digest, Standing)>, SessionsError> {
        let rows = sqlx::query(
            "SELECT digest, state, since, run, touches FROM condemned WHERE state IN ('condemned', 'deleting')",
        )
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let state: String = row.try_get("state").map_err(failed)?;
                let standing = match state.as_str() {
                    "deleting" => Standing::Leaving(None),
                    _ => Standing::Condemned(condemned(row)?),
                };
                Ok((digest(row)?, standing))
            })
            .collect()
    }

    async fn condemn(
        &self,
        digests: &[Digest],
        since: u64,
        run: i64,
    ) -> Result<Vec<(Digest, Condemned)>, SessionsError> {
        let rows = sqlx::query(
            "INSERT INTO condemned (digest, state, since, touches, run) \
             SELECT value, 'condemned', ?2, 0, ?3 FROM json_each(?1) WHERE true \
             ON CONFLICT (digest) DO UPDATE SET state = excluded.state, since = excluded.since, run = excluded.run \
             RETURNING digest, since, run, touches",
        )
        .bind(json_of(digests))
        .bind(time(since))
        .bind(run)
        .fetch_all(self.database.writer())
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((digest(row)?, condemned(row)?)))
            .collect()
    }

    async fn lift(&self, digest: &Digest, is_touch: bool) -> Result<(), SessionsError> {
        sqlx::query(
            "UPDATE condemned SET state = 'lifted', touches = CASE WHEN ? THEN touches + 1 ELSE 0 END \
             WHERE digest = ? AND state = 'condemned'",
        )
        .bind(is_touch)
        .bind(digest.to_string())
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn lift_run(&self, run: i64) -> Result<Vec<Digest>, SessionsError> {
        let rows =
            sqlx::query("DELETE FROM condemned WHERE run = ? AND state = 'condemned' RETURNING digest")
                .bind(run)
                .fetch_all(self.database.writer())
                .await
                .map_err(failed)?;
        rows.iter().map(digest).collect()
    }

    async fn leave(&self, digests: &[(Digest, u64)]) -> Result<Vec<Digest>, SessionsError> {
        let wanted: Vec<(String, i64)> = digests
            .iter()
            .map(|(digest, since)| (digest.to_string(), time(*since)))
            .collect();
        let wanted = serde_json::to_string(&wanted).unwrap_or_default();
        let leaving = self
            .database
            .fetch_durably(
                sqlx::query(
                    "UPDATE condemned SET state = 'deleting' \
                     FROM (SELECT value ->> 0 AS name, value ->> 1 AS at FROM json_each(?)) AS wanted \
                     WHERE digest = wanted.name AND since = wanted.at AND state = 'condemned' RETURNING digest",
                )
                .bind(wanted),
            )
            .await
            .map_err(failed)?;
        leaving.iter().map(digest).collect()
    }

    async fn forget(&self, digests: &[Digest]) -> Result<(), SessionsError> {
        sqlx::query("DELETE FROM condemned WHERE digest IN (SELECT value FROM json_each(?))")
            .bind(json_of(digests))
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }
}
