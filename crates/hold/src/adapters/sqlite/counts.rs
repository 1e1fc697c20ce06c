//! The table of counts.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_server::database::Database;
use chrono::{DateTime, Utc};
use sqlx::FromRow;

use crate::manifests::{CountStore, Counted, CountsError, Event};

/// [`CountStore`] in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteCounts {
    database: Database,
}

impl SqliteCounts {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[derive(FromRow)]
struct CountRow {
    owner: String,
    repository: String,
    pulls: i64,
    pushes: i64,
    last_pull: Option<i64>,
    last_push: Option<i64>,
}

impl TryFrom<CountRow> for Counted {
    type Error = CountsError;

    fn try_from(row: CountRow) -> Result<Self, CountsError> {
        let corrupt = |column| CountsError::Corrupt { column };
        let time = |millis: Option<i64>, column| {
            millis
                .map(|millis| DateTime::from_timestamp_millis(millis).ok_or(CountsError::Corrupt { column }))
                .transpose()
        };
        Ok(Self {
            owner: row.owner.parse::<Did>().map_err(|_| corrupt("owner"))?,
            repository: row.repository,
            pulls: u64::try_from(row.pulls).map_err(|_| corrupt("pulls"))?,
            pushes: u64::try_from(row.pushes).map_err(|_| corrupt("pushes"))?,
            last_pull: time(row.last_pull, "last_pull")?,
            last_push: time(row.last_push, "last_push")?,
        })
    }
}

#[async_trait]
impl CountStore for SqliteCounts {
    async fn is_counted(&self, owner: &Did, repository: &str) -> Result<bool, CountsError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM counts WHERE owner = ? AND repository = ?)")
            .bind(owner.as_str())
            .bind(repository)
            .fetch_one(self.database.readers())
            .await
            .map_err(failed)
    }

    async fn add(
        &self,
        start: &Counted,
        event: Event,
        at: DateTime<Utc>,
        settles: Option<i64>,
    ) -> Result<(), CountsError> {
        let mut step = self.database.writer().begin().await.map_err(failed)?;
        if let Some(id) = settles {
            let settled = sqlx::query("DELETE FROM deferred_notices WHERE id = ?")
                .bind(id)
                .execute(&mut *step)
                .await
                .map_err(failed)?;
            if settled.rows_affected() == 0 {
                return Ok(());
            }
        }
        let (pulls, pushes) = match event {
            Event::Pull => (1_i64, 0_i64),
            Event::Push => (0, 1),
        };
        let now = at.timestamp_millis();
        let last = |is_it: i64, before: Option<DateTime<Utc>>| {
            if is_it > 0 {
                Some(now)
            } else {
                before.map(|before| before.timestamp_millis())
            }
        };
        sqlx::query(
            "INSERT INTO counts (owner, repository, pulls, pushes, last_pull, last_push, is_published)
             VALUES (?, ?, ?, ?, ?, ?, 0)
             ON CONFLICT (owner, repository) DO UPDATE SET
                 pulls = pulls + ?, pushes = pushes + ?,
                 last_pull = CASE WHEN ? > 0 THEN excluded.last_pull ELSE last_pull END,
                 last_push = CASE WHEN ? > 0 THEN excluded.last_push ELSE last_push END,
                 is_published = 0",
        )
        .bind(start.owner.as_str())
        .bind(&start.repository)
        .bind(to_sql(start.pulls).saturating_add(pulls))
        .bind(to_sql(start.pushes).saturating_add(pushes))
        .bind(last(pulls, start.last_pull))
        .bind(last(pushes, start.last_push))
        .bind(pulls)
        .bind(pushes)
        .bind(pulls)
        .bind(pushes)
        .execute(&mut *step)
        .await
        .map_err(failed)?;
        step.commit().await.map_err(failed)
    }

    async fn has_any_of(&self, owner: &Did) -> Result<bool, CountsError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM counts WHERE owner = ?)")
            .bind(owner.as_str())
            .fetch_one(self.database.readers())
            .await
            .map_err(failed)
    }

    async fn forget(&self, owner: &Did) -> Result<(), CountsError> {
        sqlx::query("DELETE FROM counts WHERE owner = ?")
            .bind(owner.as_str())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn of_owner(&self, owner: &Did, limit: u32) -> Result<Vec<Counted>, CountsError> {
        // One look at each repository of the owner.
        let rows: Vec<CountRow> = sqlx::query_as(
            "SELECT owner, repository, pulls, pushes, last_pull, last_push FROM counts WHERE owner = ?
             ORDER BY pushes DESC, repository LIMIT ?",
        )
        .bind(owner.as_str())
        .bind(limit)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.into_iter().map(Counted::try_from).collect()
    }

    async fn totals(&self) -> Result<(u64, u64), CountsError> {
        // One look at each repository.
        let sums: (i64, i64) =
            sqlx::query_as("SELECT coalesce(sum(pushes), 0), coalesce(sum(pulls), 0) FROM counts")
                .fetch_one(self.database.readers())
                .await
                .map_err(failed)?;
        let sum = |sum, column| u64::try_from(sum).map_err(|_| CountsError::Corrupt { column });
        Ok((sum(sums.0, "pushes")?, sum(sums.1, "pulls")?))
    }

    async fn unpublished(&self, limit: u32) -> Result<Vec<Counted>, CountsError> {
        // Served by counts_unpublished.
        let rows: Vec<CountRow> = sqlx::query_as(
            "SELECT owner, repository, pulls, pushes, last_pull, last_push FROM counts WHERE is_published = 0
             ORDER BY owner, repository LIMIT ?",
        )
        .bind(limit)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        rows.into_iter().map(Counted::try_from).collect()
    }

    async fn published(&self, counted: &Counted) -> Result<(), CountsError> {
        sqlx::query(
            "UPDATE counts SET is_published = 1 WHERE owner = ? AND repository = ? AND pulls = ? AND pushes = ?",
        )
        .bind(counted.owner.as_str())
        .bind(&counted.repository)
        .bind(to_sql(counted.pulls))
        .bind(to_sql(counted.pushes))
        .execute(self.database.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }
}

fn to_sql(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn failed(error: sqlx::Error) -> CountsError {
    CountsError::Database(Box::new(error))
}
