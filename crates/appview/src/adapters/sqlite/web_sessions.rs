//! Browsers that are signed in, in SQLite.

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_server::port_call::PortCall;
use atcr_sessions::SessionError;
use atcr_sessions::web_session::{TokenHash, WebSession, WebSessionStore};
use chrono::{DateTime, Utc};

use super::{Database, failed};

/// Web sessions by the hash of their token.
#[derive(Clone, Debug)]
pub struct SqliteWebSessions {
    database: Database,
}

impl SqliteWebSessions {
    /// Keeps sessions in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[derive(sqlx::FromRow)]
struct WebSessionRow {
    did: String,
    handle: Option<String>,
    created_at: i64,
    expires_at: i64,
}

impl TryFrom<WebSessionRow> for WebSession {
    type Error = SessionError;

    fn try_from(row: WebSessionRow) -> Result<Self, SessionError> {
        let corrupt = |column: &str| SessionError::Internal {
            what: format!("the database has a bad value in web_session.{column}"),
        };
        let time = |secs, column| DateTime::from_timestamp(secs, 0).ok_or_else(|| corrupt(column));
        Ok(Self {
            did: row.did.parse().map_err(|_| corrupt("did"))?,
            handle: row.handle,
            created_at: time(row.created_at, "created_at")?,
            expires_at: time(row.expires_at, "expires_at")?,
        })
    }
}

#[async_trait]
impl WebSessionStore for SqliteWebSessions {
    async fn insert(
        &self,
        hash: &TokenHash,
        session: &WebSession,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError> {
        let call = Box::pin(async {
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            sqlx::query("DELETE FROM web_session WHERE expires_at <= ?")
                .bind(now.timestamp())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query(
                "INSERT INTO web_session (token_hash, did, handle, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(hash.as_slice())
            .bind(session.did.as_str())
            .bind(&session.handle)
            .bind(session.created_at.timestamp())
            .bind(session.expires_at.timestamp())
            .execute(&mut *transaction)
            .await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(())
        });
        PortCall::database("insert_web_session").run(call).await
    }

    async fn find(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<WebSession>, SessionError> {
        let call = Box::pin(async {
            let row: Option<WebSessionRow> = sqlx::query_as(
                "SELECT did, handle, created_at, expires_at FROM web_session WHERE token_hash = ? AND expires_at > ?",
            )
            .bind(hash.as_slice())
            .bind(now.timestamp())
            .fetch_optional(self.database.readers())
            .await.map_err(failed)?;
            row.map(WebSession::try_from).transpose()
        });
        PortCall::database("find_web_session").run(call).await
    }

    async fn delete(&self, hash: &TokenHash) -> Result<(), SessionError> {
        let call = Box::pin(async {
            sqlx::query("DELETE FROM web_session WHERE token_hash = ?")
                .bind(hash.as_slice())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("delete_web_session").run(call).await
    }

    async fn delete_all(&self, did: &Did) -> Result<(), SessionError> {
        let call = Box::pin(async {
            sqlx::query("DELETE FROM web_session WHERE did = ?")
                .bind(did.as_str())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("delete_web_sessions").run(call).await
    }

    async fn any(&self, did: &Did, now: DateTime<Utc>) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let found: Option<i64> =
                sqlx::query_scalar("SELECT 1 FROM web_session WHERE did = ? AND expires_at > ? LIMIT 1")
                    .bind(did.as_str())
                    .bind(now.timestamp())
                    .fetch_optional(self.database.readers())
                    .await
                    .map_err(failed)?;
            Ok(found.is_some())
        });
        PortCall::database("has_web_sessions").run(call).await
    }
}
