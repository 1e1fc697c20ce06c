//! Notices of pushes that wait for their holds, in the durable file: a push that was acknowledged is told of after a power failure
//! as well.

use async_trait::async_trait;
use atcr_atproto::lexicon::notify_manifest::NotifyManifestInput;
use atcr_atproto::syntax::Did;
use atcr_auth::principal::{AuthMethod, Principal};
use atcr_registry::error::{AccessError, RegistryError};
use atcr_registry::hold::notices::push_outbox::{NoticeId, NoticeOutbox, PendingNotice};
use atcr_server::port_call::PortCall;
use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Database, failed};

/// Notices of one account that wait at most. Otherwise an account that chooses a hold which never answers could fill the disk.
const PER_ACCOUNT: i64 = 2_000;

/// [`NoticeOutbox`] in the database.
#[derive(Clone, Debug)]
pub struct SqlitePushNotices {
    database: Database,
}

impl SqlitePushNotices {
    /// Keeps them in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[derive(FromRow)]
struct NoticeRow {
    id: i64,
    did: String,
    auth_method: String,
    notice: String,
}

impl TryFrom<NoticeRow> for PendingNotice {
    type Error = RegistryError;

    fn try_from(row: NoticeRow) -> Result<Self, RegistryError> {
        Ok(Self {
            id: NoticeId(row.id),
            principal: Principal::Sailor {
                did: row.did.parse().map_err(|_| corrupt("did"))?,
                auth_method: match row.auth_method.as_str() {
                    "oauth" => AuthMethod::OAuth,
                    "app_password" => AuthMethod::AppPassword,
                    _ => return Err(corrupt("auth_method")),
                },
            },
            notice: serde_json::from_str(&row.notice).map_err(|_| corrupt("notice"))?,
        })
    }
}

#[async_trait]
impl NoticeOutbox for SqlitePushNotices {
    async fn add(
        &self,
        principal: &Principal,
        hold: &Did,
        notice: &NotifyManifestInput,
        pushed_at: DateTime<Utc>,
    ) -> Result<u64, RegistryError> {
        let call = Box::pin(async {
            let Principal::Sailor { did, auth_method } = principal else {
                return Err(RegistryError::Access(AccessError::SignInRequired));
            };
            let auth_method = match auth_method {
                AuthMethod::OAuth => "oauth",
                AuthMethod::AppPassword => "app_password",
            };
            let json = serde_json::to_string(notice).map_err(|error| RegistryError::Internal {
                what: error.to_string(),
            })?;
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            sqlx::query(
                "INSERT INTO push_notice (did, auth_method, hold_did, notice, pushed_at) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(did.as_str())
            .bind(auth_method)
            .bind(hold.as_str())
            .bind(json)
            .bind(pushed_at.timestamp())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            let crowded_out = sqlx::query(
                "DELETE FROM push_notice WHERE did = ?1 AND id <= \
                 (SELECT id FROM push_notice WHERE did = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )
            .bind(did.as_str())
            .bind(PER_ACCOUNT)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(crowded_out.rows_affected())
        });
        PortCall::database("add_push_notice").run(call).await
    }

    async fn holds(&self) -> Result<Vec<Did>, RegistryError> {
        let call = Box::pin(async {
            let holds: Vec<String> = sqlx::query_scalar("SELECT DISTINCT hold_did FROM push_notice")
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
            holds
                .into_iter()
                .map(|hold| hold.parse().map_err(|_| corrupt("hold_did")))
                .collect()
        });
        PortCall::database("list_push_notice_holds").run(call).await
    }

    async fn waiting(
        &self,
        hold: &Did,
        after: Option<NoticeId>,
        limit: u32,
    ) -> Result<Vec<PendingNotice>, RegistryError> {
        let call = Box::pin(async {
            let rows: Vec<NoticeRow> = sqlx::query_as(
                "SELECT id, did, auth_method, notice FROM push_notice WHERE hold_did = ? AND id > ? ORDER BY id LIMIT ?",
            )
            .bind(hold.as_str())
            .bind(after.map_or(0, |after| after.0))
            .bind(limit)
            .fetch_all(self.database.readers())
            .await.map_err(failed)?;
            rows.into_iter().map(PendingNotice::try_from).collect()
        });
        PortCall::database("list_push_notices").run(call).await
    }

    async fn remove(&self, notices: &[NoticeId]) -> Result<(), RegistryError> {
        let call = Box::pin(async {
            if notices.is_empty() {
                return Ok(());
            }
            let mut query = sqlx::QueryBuilder::new("DELETE FROM push_notice WHERE id IN (");
            let mut ids = query.separated(", ");
            for notice in notices {
                ids.push_bind(notice.0);
            }
            query.push(")");
            query
                .build()
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("remove_push_notice").run(call).await
    }

    async fn remove_older(&self, hold: &Did, than: DateTime<Utc>) -> Result<u64, RegistryError> {
        let call = Box::pin(async {
            let removed = sqlx::query("DELETE FROM push_notice WHERE hold_did = ? AND pushed_at < ?")
                .bind(hold.as_str())
                .bind(than.timestamp())
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(removed.rows_affected())
        });
        PortCall::database("remove_old_push_notices").run(call).await
    }
}

fn corrupt(column: &str) -> RegistryError {
    RegistryError::Internal {
        what: format!("the database has a bad value in push_notice.{column}"),
    }
}
