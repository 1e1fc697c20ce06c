//! Sign-ins under way, in SQLite, sealed.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_auth::vault::Vault;
use atcr_server::port_call::PortCall;
use atcr_sessions::SessionError;
use atcr_sessions::oauth::ports::{OAuthRequestStore, StateHash};
use chrono::{DateTime, Utc};

use super::{Database, failed};

/// Sign-ins under way, sealed under the vault's key.
#[derive(Debug)]
pub struct SqliteOAuthRequests {
    database: Database,
    vault: Arc<Vault>,
}

impl SqliteOAuthRequests {
    /// Keeps them in `database`, sealed by `vault`.
    #[must_use]
    pub fn new(database: Database, vault: Arc<Vault>) -> Self {
        Self { database, vault }
    }
}

/// A row moved under another state does not open.
fn context(state: &StateHash) -> Vec<u8> {
    [b"oauth_request.sealed:".as_slice(), state].concat()
}

#[async_trait]
impl OAuthRequestStore for SqliteOAuthRequests {
    async fn insert(
        &self,
        state: &StateHash,
        request: &[u8],
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError> {
        let call = Box::pin(async {
            let sealed =
                self.vault
                    .seal(&context(state), request)
                    .map_err(|error| SessionError::Internal {
                        what: error.to_string(),
                    })?;
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            sqlx::query("DELETE FROM oauth_request WHERE expires_at <= ?")
                .bind(now.timestamp())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query("INSERT INTO oauth_request (state_hash, sealed, expires_at) VALUES (?, ?, ?)")
                .bind(state.as_slice())
                .bind(sealed)
                .bind(expires_at.timestamp())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(())
        });
        PortCall::database("insert_oauth_request").run(call).await
    }

    async fn take(&self, state: &StateHash, now: DateTime<Utc>) -> Result<Option<Vec<u8>>, SessionError> {
        let call = Box::pin(async {
            let sealed: Option<Vec<u8>> = sqlx::query_scalar(
                "DELETE FROM oauth_request WHERE state_hash = ? AND expires_at > ? RETURNING sealed",
            )
            .bind(state.as_slice())
            .bind(now.timestamp())
            .fetch_optional(self.database.writer())
            .await
            .map_err(failed)?;
            Ok(sealed.and_then(|sealed| self.vault.open(&context(state), &sealed).ok()))
        });
        PortCall::database("take_oauth_request").run(call).await
    }
}
