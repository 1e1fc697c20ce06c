//! OAuth sessions in SQLite, sealed.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::OAuthSession;
use atcr_auth::vault::Vault;
use chrono::{DateTime, Utc};

use super::Database;
use crate::registry::error::RegistryError;
use crate::sessions::oauth::ports::{OAuthSessionStore, VersionedSession};

/// Sessions, sealed under the vault's key.
#[derive(Debug)]
pub struct SqliteOAuthSessions {
    database: Database,
    vault: Arc<Vault>,
}

impl SqliteOAuthSessions {
    /// Keeps sessions in `database`, sealed by `vault`.
    #[must_use]
    pub fn new(database: Database, vault: Arc<Vault>) -> Self {
        Self { database, vault }
    }

    fn seal(&self, session: &OAuthSession) -> Result<Vec<u8>, RegistryError> {
        let internal = |error: &dyn std::fmt::Display| RegistryError::Internal {
            what: error.to_string(),
        };
        let plain = session.to_bytes().map_err(|error| internal(&error))?;
        self.vault
            .seal(&context(&session.did), &plain)
            .map_err(|error| internal(&error))
    }
}

/// A row moved under another DID does not open.
fn context(did: &Did) -> Vec<u8> {
    format!("oauth_session.sealed:{did}").into_bytes()
}

#[async_trait]
impl OAuthSessionStore for SqliteOAuthSessions {
    async fn find(&self, did: &Did) -> Result<Option<VersionedSession>, RegistryError> {
        let row: Option<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT sealed, version FROM oauth_session WHERE did = ?")
                .bind(did.as_str())
                .fetch_optional(self.database.readers())
                .await?;
        let Some((sealed, version)) = row else {
            return Ok(None);
        };
        let opened = self
            .vault
            .open(&context(did), &sealed)
            .map_err(|error| error.to_string());
        let opened =
            opened.and_then(|plain| OAuthSession::from_bytes(&plain).map_err(|error| error.to_string()));
        Ok(match opened {
            Ok(session) => Some(VersionedSession { session, version }),
            Err(error) => {
                tracing::warn!(%did, error, "a stored session is not usable; the user has to sign in again");
                None
            }
        })
    }

    async fn put(&self, session: &OAuthSession) -> Result<i64, RegistryError> {
        let sealed = self.seal(session)?;
        // The first version is the time: a session that was deleted and made anew must not meet an old one's number.
        let version: i64 = sqlx::query_scalar(
            "INSERT INTO oauth_session (did, client_id, requested_scope, sealed, version) \
             VALUES (?, ?, ?, ?, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) \
             ON CONFLICT (did) DO UPDATE SET client_id = excluded.client_id, \
             requested_scope = excluded.requested_scope, sealed = excluded.sealed, \
             version = MAX(version + 1, excluded.version), lease_until = NULL RETURNING version",
        )
        .bind(session.did.as_str())
        .bind(&session.client_id)
        .bind(&session.requested_scope)
        .bind(sealed)
        .fetch_one(self.database.writer())
        .await?;
        Ok(version)
    }

    async fn replace(&self, session: &OAuthSession, version: i64) -> Result<Option<i64>, RegistryError> {
        let sealed = self.seal(session)?;
        Ok(sqlx::query_scalar(
            "UPDATE oauth_session SET sealed = ?, version = version + 1, lease_until = NULL \
             WHERE did = ? AND version = ? RETURNING version",
        )
        .bind(sealed)
        .bind(session.did.as_str())
        .bind(version)
        .fetch_optional(self.database.writer())
        .await?)
    }

    async fn delete(&self, did: &Did, version: i64) -> Result<(), RegistryError> {
        sqlx::query("DELETE FROM oauth_session WHERE did = ? AND version = ?")
            .bind(did.as_str())
            .bind(version)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    async fn try_lease(
        &self,
        did: &Did,
        version: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, RegistryError> {
        let taken = sqlx::query(
            "UPDATE oauth_session SET lease_until = ? \
             WHERE did = ? AND version = ? AND (lease_until IS NULL OR lease_until <= ?)",
        )
        .bind(until.timestamp_millis())
        .bind(did.as_str())
        .bind(version)
        .bind(now.timestamp_millis())
        .execute(self.database.writer())
        .await?;
        Ok(taken.rows_affected() == 1)
    }

    async fn release(&self, did: &Did, version: i64) -> Result<(), RegistryError> {
        sqlx::query("UPDATE oauth_session SET lease_until = NULL WHERE did = ? AND version = ?")
            .bind(did.as_str())
            .bind(version)
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    async fn delete_unfit(&self, client_id: &str, scopes: &[String]) -> Result<Vec<Did>, RegistryError> {
        let fitting = serde_json::to_string(scopes).map_err(|error| RegistryError::Internal {
            what: error.to_string(),
        })?;
        let dids: Vec<String> = sqlx::query_scalar(
            "DELETE FROM oauth_session WHERE client_id <> ? \
             OR requested_scope NOT IN (SELECT value FROM json_each(?)) RETURNING did",
        )
        .bind(client_id)
        .bind(fitting)
        .fetch_all(self.database.writer())
        .await?;
        Ok(dids.into_iter().filter_map(|did| did.parse().ok()).collect())
    }
}
