//! OAuth sessions in SQLite, sealed.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::oauth::OAuthSession;
use atcr_auth::vault::Vault;
use atcr_server::port_call::PortCall;
use atcr_sessions::SessionError;
use atcr_sessions::oauth::ports::{OAuthSessionStore, Put, Taken, VersionedSession};
use chrono::{DateTime, Utc};

use super::{Database, failed};

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

    fn seal(&self, session: &OAuthSession) -> Result<Vec<u8>, SessionError> {
        let internal = |error: &dyn std::fmt::Display| SessionError::Internal {
            what: error.to_string(),
        };
        let plain = session.to_bytes().map_err(|error| internal(&error))?;
        self.vault
            .seal(&context(&session.did), &plain)
            .map_err(|error| internal(&error))
    }

    /// The session in a row of `did`; `None`, with a line in the log, for one that was sealed with another key.
    fn open(&self, did: &Did, sealed: &[u8]) -> Option<OAuthSession> {
        let opened = self
            .vault
            .open(&context(did), sealed)
            .map_err(|error| error.to_string())
            .and_then(|plain| OAuthSession::from_bytes(&plain).map_err(|error| error.to_string()));
        opened
            .inspect_err(
                |error| tracing::warn!(%did, error, "a stored session is not usable; the user has to sign in again"),
            )
            .ok()
    }
}

/// The column of a public client, which has no key. NULL is a row from before keys were noted.
const NO_KEY: &str = "";

/// A row moved under another DID does not open.
fn context(did: &Did) -> Vec<u8> {
    format!("oauth_session.sealed:{did}").into_bytes()
}

#[async_trait]
impl OAuthSessionStore for SqliteOAuthSessions {
    async fn find(&self, did: &Did) -> Result<Option<VersionedSession>, SessionError> {
        let call = Box::pin(async {
            let row: Option<(Vec<u8>, i64)> =
                sqlx::query_as("SELECT sealed, version FROM oauth_session WHERE did = ?")
                    .bind(did.as_str())
                    .fetch_optional(self.database.readers())
                    .await
                    .map_err(failed)?;
            Ok(row.and_then(|(sealed, version)| {
                let session = self.open(did, &sealed)?;
                Some(VersionedSession { session, version })
            }))
        });
        PortCall::database("find_oauth_session").run(call).await
    }

    async fn put(&self, session: &OAuthSession, now: DateTime<Utc>) -> Result<Put, SessionError> {
        let call = Box::pin(async {
            let (did, sealed) = (&session.did, self.seal(session)?);
            // The first statement writes, so that no other writer comes between the two.
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            let before: Option<(Vec<u8>, i64)> =
                sqlx::query_as("DELETE FROM oauth_session WHERE did = ? RETURNING sealed, version")
                    .bind(did.as_str())
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(failed)?;
            // The first version is the time: a session that was deleted and made anew must not meet an old one's number.
            let version: i64 = sqlx::query_scalar(
                "INSERT INTO oauth_session (did, client_id, client_key, requested_scope, sealed, signed_in_at, version) \
                 VALUES (?, ?, ?, ?, ?, ?, MAX(?, CAST(unixepoch('subsec') * 1000000 AS INTEGER))) RETURNING version",
            )
            .bind(did.as_str())
            .bind(&session.client_id)
            .bind(session.client_key.as_deref().unwrap_or(NO_KEY))
            .bind(&session.requested_scope)
            .bind(sealed)
            .bind(now.timestamp())
            .bind(before.as_ref().map_or(0, |(_, version)| version + 1))
            .fetch_one(&mut *transaction)
            .await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(Put {
                version,
                before: before.and_then(|(sealed, _)| self.open(did, &sealed)),
            })
        });
        PortCall::database("put_oauth_session").run(call).await
    }

    async fn replace(&self, session: &OAuthSession, version: i64) -> Result<Option<i64>, SessionError> {
        let call = Box::pin(async {
            let sealed = self.seal(session)?;
            Ok(sqlx::query_scalar(
                "UPDATE oauth_session SET sealed = ?, client_key = ?, version = version + 1, lease_until = NULL \
                 WHERE did = ? AND version = ? RETURNING version",
            )
            .bind(sealed)
            .bind(session.client_key.as_deref().unwrap_or(NO_KEY))
            .bind(session.did.as_str())
            .bind(version)
            .fetch_optional(self.database.writer())
            .await
            .map_err(failed)?)
        });
        PortCall::database("replace_oauth_session").run(call).await
    }

    async fn delete(&self, did: &Did, version: i64) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let deleted = sqlx::query("DELETE FROM oauth_session WHERE did = ? AND version = ?")
                .bind(did.as_str())
                .bind(version)
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(deleted.rows_affected() == 1)
        });
        PortCall::database("delete_oauth_session").run(call).await
    }

    async fn take(&self, did: &Did) -> Result<Option<Taken>, SessionError> {
        let call = Box::pin(async {
            let sealed: Option<Vec<u8>> =
                sqlx::query_scalar("DELETE FROM oauth_session WHERE did = ? RETURNING sealed")
                    .bind(did.as_str())
                    .fetch_optional(self.database.writer())
                    .await
                    .map_err(failed)?;
            Ok(sealed.map(|sealed| Taken {
                did: did.clone(),
                session: self.open(did, &sealed),
            }))
        });
        PortCall::database("take_oauth_session").run(call).await
    }

    async fn take_unused(
        &self,
        signed_in_before: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Taken>, SessionError> {
        let call = Box::pin(async {
            // Found and deleted in one statement, since an account may be signing in. Every session is read once; web_session_by_did
            // and device_by_did serve the rest, and open approvals are few.
            let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
                "DELETE FROM oauth_session WHERE did IN ( \
                 SELECT did FROM oauth_session AS session WHERE signed_in_at < ?1 \
                 AND NOT EXISTS (SELECT 1 FROM web_session WHERE did = session.did AND expires_at > ?2) \
                 AND NOT EXISTS (SELECT 1 FROM device WHERE did = session.did) \
                 AND NOT EXISTS (SELECT 1 FROM pending_device \
                 WHERE did = session.did AND decision = 'approved' AND expires_at > ?2) \
                 LIMIT ?3) RETURNING did, sealed",
            )
            .bind(signed_in_before.timestamp())
            .bind(now.timestamp())
            .bind(limit)
            .fetch_all(self.database.writer())
            .await
            .map_err(failed)?;
            let corrupt = |_| SessionError::Internal {
                what: "the database has a bad value in oauth_session.did".to_owned(),
            };
            rows.into_iter()
                .map(|(did, sealed)| {
                    let did: Did = did.parse().map_err(corrupt)?;
                    let session = self.open(&did, &sealed);
                    Ok(Taken { did, session })
                })
                .collect()
        });
        PortCall::database("take_unused_oauth_sessions").run(call).await
    }

    async fn try_lease(
        &self,
        did: &Did,
        version: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let taken = sqlx::query(
                "UPDATE oauth_session SET lease_until = ? \
                 WHERE did = ? AND version = ? AND (lease_until IS NULL OR lease_until <= ?)",
            )
            .bind(until.timestamp_millis())
            .bind(did.as_str())
            .bind(version)
            .bind(now.timestamp_millis())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
            Ok(taken.rows_affected() == 1)
        });
        PortCall::database("lease_oauth_session").run(call).await
    }

    async fn release(&self, did: &Did, version: i64) -> Result<(), SessionError> {
        let call = Box::pin(async {
            sqlx::query("UPDATE oauth_session SET lease_until = NULL WHERE did = ? AND version = ?")
                .bind(did.as_str())
                .bind(version)
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("release_oauth_session").run(call).await
    }

    async fn delete_unfit(
        &self,
        client_id: &str,
        client_key: Option<&str>,
        scopes: &[String],
    ) -> Result<Vec<Did>, SessionError> {
        let call = Box::pin(async {
            let fitting = serde_json::to_string(scopes).map_err(|error| SessionError::Internal {
                what: error.to_string(),
            })?;
            let dids: Vec<String> = sqlx::query_scalar(
                "DELETE FROM oauth_session WHERE client_id <> ? OR client_key <> ? \
                 OR requested_scope NOT IN (SELECT value FROM json_each(?)) RETURNING did",
            )
            .bind(client_id)
            .bind(client_key.unwrap_or(NO_KEY))
            .bind(fitting)
            .fetch_all(self.database.writer())
            .await
            .map_err(failed)?;
            Ok(dids.into_iter().filter_map(|did| did.parse().ok()).collect())
        });
        PortCall::database("delete_unfit_oauth_sessions").run(call).await
    }
}
