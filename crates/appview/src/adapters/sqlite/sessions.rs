//! Sessions with PDSes and refresh tokens of the token endpoint, in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_auth::vault::Vault;
use atcr_server::port_call::PortCall;
use atcr_sessions::SessionError;
use atcr_sessions::ports::{PdsSession, SessionStore};
use atcr_sessions::refresh_token::{RefreshTokenStore, TokenHash};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Database, failed};

/// Sessions, sealed under the vault's key.
#[derive(Debug)]
pub struct SqliteSessions {
    database: Database,
    vault: Arc<Vault>,
}

impl SqliteSessions {
    /// Keeps sessions in `database`, sealed by `vault`.
    #[must_use]
    pub fn new(database: Database, vault: Arc<Vault>) -> Self {
        Self { database, vault }
    }
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct SealedSession {
    pds: Url,
    access: String,
    refresh: String,
    access_expires_at: Option<DateTime<Utc>>,
}

/// A row moved under another DID does not open.
fn context(did: &Did) -> Vec<u8> {
    format!("pds_session.sealed:{did}").into_bytes()
}

#[async_trait]
impl SessionStore for SqliteSessions {
    async fn find(&self, did: &Did) -> Result<Option<PdsSession>, SessionError> {
        let call = Box::pin(async {
            let sealed: Option<Vec<u8>> = sqlx::query_scalar("SELECT sealed FROM pds_session WHERE did = ?")
                .bind(did.as_str())
                .fetch_optional(self.database.readers())
                .await
                .map_err(failed)?;
            let Some(sealed) = sealed else { return Ok(None) };
            let opened = match self.vault.open(&context(did), &sealed) {
                Ok(plain) => serde_json::from_slice::<SealedSession>(&plain).ok(),
                Err(error) => {
                    tracing::warn!(%did, %error, "a stored session is not usable; the user has to sign in again");
                    None
                }
            };
            Ok(opened.map(|session| PdsSession {
                did: did.clone(),
                pds: session.pds,
                access: SecretString::from(session.access),
                refresh: SecretString::from(session.refresh),
                access_expires_at: session.access_expires_at,
            }))
        });
        PortCall::database("find_pds_session").run(call).await
    }

    async fn save(&self, session: &PdsSession) -> Result<(), SessionError> {
        let call = Box::pin(async {
            let internal = |error: &dyn std::fmt::Display| SessionError::Internal {
                what: error.to_string(),
            };
            let plain = serde_json::to_vec(&SealedSession {
                pds: session.pds.clone(),
                access: session.access.expose_secret().to_owned(),
                refresh: session.refresh.expose_secret().to_owned(),
                access_expires_at: session.access_expires_at,
            })
            .map_err(|error| internal(&error))?;
            let sealed = self
                .vault
                .seal(&context(&session.did), &plain)
                .map_err(|error| internal(&error))?;
            sqlx::query(
                "INSERT INTO pds_session (did, sealed) VALUES (?, ?) \
                 ON CONFLICT (did) DO UPDATE SET sealed = excluded.sealed",
            )
            .bind(session.did.as_str())
            .bind(sealed)
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
            Ok(())
        });
        PortCall::database("save_pds_session").run(call).await
    }

    async fn delete(&self, did: &Did) -> Result<(), SessionError> {
        let call = Box::pin(async {
            sqlx::query("DELETE FROM pds_session WHERE did = ?")
                .bind(did.as_str())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("delete_pds_session").run(call).await
    }
}

/// Refresh tokens by their hash.
#[derive(Clone, Debug)]
pub struct SqliteRefreshTokens {
    database: Database,
}

impl SqliteRefreshTokens {
    /// Keeps tokens in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

/// The spelling of a way to sign in, pinned by the table's check.
fn auth_method_text(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::OAuth => "oauth",
        AuthMethod::AppPassword => "app_password",
    }
}

#[async_trait]
impl RefreshTokenStore for SqliteRefreshTokens {
    async fn insert(
        &self,
        hash: &TokenHash,
        principal: &Principal,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError> {
        let call = Box::pin(async {
            let Principal::Sailor { did, auth_method } = principal else {
                return Err(SessionError::Internal {
                    what: "a refresh token for an anonymous caller".to_owned(),
                });
            };
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            sqlx::query("DELETE FROM refresh_token WHERE expires_at <= ?")
                .bind(now.timestamp())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            sqlx::query(
                "INSERT INTO refresh_token (token_hash, did, auth_method, expires_at) VALUES (?, ?, ?, ?)",
            )
            .bind(hash.as_slice())
            .bind(did.as_str())
            .bind(auth_method_text(*auth_method))
            .bind(expires_at.timestamp())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(())
        });
        PortCall::database("insert_refresh_token").run(call).await
    }

    async fn find(&self, hash: &TokenHash, now: DateTime<Utc>) -> Result<Option<Principal>, SessionError> {
        let call = Box::pin(async {
            let row: Option<(String, String)> = sqlx::query_as(
                "SELECT did, auth_method FROM refresh_token WHERE token_hash = ? AND expires_at > ?",
            )
            .bind(hash.as_slice())
            .bind(now.timestamp())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
            let corrupt = |column: &str| SessionError::Internal {
                what: format!("the database has a bad value in refresh_token.{column}"),
            };
            let Some((did, method)) = row else { return Ok(None) };
            let auth_method = [AuthMethod::OAuth, AuthMethod::AppPassword]
                .into_iter()
                .find(|known| auth_method_text(*known) == method)
                .ok_or_else(|| corrupt("auth_method"))?;
            let did = did.parse().map_err(|_| corrupt("did"))?;
            Ok(Some(Principal::Sailor { did, auth_method }))
        });
        PortCall::database("find_refresh_token").run(call).await
    }

    async fn delete_all(&self, did: &Did) -> Result<(), SessionError> {
        let call = Box::pin(async {
            sqlx::query("DELETE FROM refresh_token WHERE did = ?")
                .bind(did.as_str())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("delete_refresh_tokens").run(call).await
    }
}
