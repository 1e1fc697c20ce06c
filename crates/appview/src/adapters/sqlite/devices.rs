//! Devices and those on their way, in SQLite.

use std::net::{AddrParseError, IpAddr};

use async_trait::async_trait;
use atcr_atproto::syntax::Did;
use atcr_auth::device::{Approval, Decision, DeviceName, PendingDevice, UserCode};
use atcr_server::port_call::PortCall;
use atcr_sessions::SessionError;
use atcr_sessions::devices::ports::{Device, DeviceStore, KnownDevice, NewSecret, SecretHash};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Database, failed};

/// Devices by the public part of their secret, those on their way by the hashes of their codes.
#[derive(Clone, Debug)]
pub struct SqliteDevices {
    database: Database,
}

impl SqliteDevices {
    /// Keeps devices in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[derive(sqlx::FromRow)]
struct PendingDeviceRow {
    user_code: String,
    name: String,
    address: String,
    decision: String,
    did: Option<String>,
    handle: Option<String>,
    created_at: i64,
    expires_at: i64,
    interval_secs: i64,
    polled_at_ms: Option<i64>,
}

impl TryFrom<PendingDeviceRow> for PendingDevice {
    type Error = SessionError;

    fn try_from(row: PendingDeviceRow) -> Result<Self, SessionError> {
        let corrupt = |column| corrupt("pending_device", column);
        let decision = match (row.decision.as_str(), row.did) {
            ("pending", _) => Decision::Pending,
            ("denied", _) => Decision::Denied,
            ("approved", Some(did)) => Decision::Approved(Approval {
                did: did.parse().map_err(|_| corrupt("did"))?,
                handle: row.handle,
            }),
            _ => return Err(corrupt("decision")),
        };
        Ok(Self {
            user_code: row.user_code.parse().map_err(|_| corrupt("user_code"))?,
            name: DeviceName::new(&row.name),
            address: address(&row.address).map_err(|_| corrupt("address"))?,
            created_at: seconds(row.created_at).ok_or_else(|| corrupt("created_at"))?,
            expires_at: seconds(row.expires_at).ok_or_else(|| corrupt("expires_at"))?,
            decision,
            interval: TimeDelta::try_seconds(row.interval_secs).ok_or_else(|| corrupt("interval_secs"))?,
            polled_at: row.polled_at_ms.and_then(DateTime::from_timestamp_millis),
        })
    }
}

#[derive(sqlx::FromRow)]
struct DeviceRow {
    id: String,
    secret_hash: Vec<u8>,
    did: String,
    name: String,
    address: String,
    created_at: i64,
    last_used_at: Option<i64>,
    last_address: Option<String>,
}

impl TryFrom<DeviceRow> for KnownDevice {
    type Error = SessionError;

    fn try_from(row: DeviceRow) -> Result<Self, SessionError> {
        let corrupt = |column| corrupt("device", column);
        Ok(Self {
            device: Device {
                id: row.id,
                did: row.did.parse().map_err(|_| corrupt("did"))?,
                name: DeviceName::new(&row.name),
                address: address(&row.address).map_err(|_| corrupt("address"))?,
                created_at: seconds(row.created_at).ok_or_else(|| corrupt("created_at"))?,
                last_used_at: row.last_used_at.and_then(seconds),
                last_address: row.last_address.and_then(|text| text.parse().ok()),
            },
            secret_hash: row.secret_hash,
        })
    }
}

/// What a column `address` says: the tables want one, so one that is not known is empty text.
fn address(text: &str) -> Result<Option<IpAddr>, AddrParseError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some)
}

fn address_text(address: Option<IpAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

fn seconds(secs: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(secs, 0)
}

fn corrupt(table: &str, column: &str) -> SessionError {
    SessionError::Internal {
        what: format!("the database has a bad value in {table}.{column}"),
    }
}

/// The columns of a decision, its spelling pinned by the table's check.
fn columns(decision: &Decision) -> (&'static str, Option<&str>, Option<&str>) {
    match decision {
        Decision::Pending => ("pending", None, None),
        Decision::Denied => ("denied", None, None),
        Decision::Approved(approval) => (
            "approved",
            Some(approval.did.as_str()),
            approval.handle.as_deref(),
        ),
    }
}

#[async_trait]
impl DeviceStore for SqliteDevices {
    async fn insert_pending(&self, code: &SecretHash, device: &PendingDevice) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            sqlx::query("DELETE FROM pending_device WHERE expires_at <= ?")
                .bind(device.created_at.timestamp())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            let inserted = sqlx::query(
                "INSERT INTO pending_device \
                 (device_code_hash, user_code, name, address, created_at, expires_at, interval_secs) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_code) DO NOTHING",
            )
            .bind(code.as_slice())
            .bind(device.user_code.as_str())
            .bind(device.name.as_str())
            .bind(address_text(device.address))
            .bind(device.created_at.timestamp())
            .bind(device.expires_at.timestamp())
            .bind(device.interval.num_seconds())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(inserted.rows_affected() == 1)
        });
        PortCall::database("insert_device_request").run(call).await
    }

    async fn find_pending(&self, code: &SecretHash) -> Result<Option<PendingDevice>, SessionError> {
        let call = Box::pin(async {
            let row: Option<PendingDeviceRow> = sqlx::query_as(
                "SELECT user_code, name, address, decision, did, handle, created_at, expires_at, interval_secs, \
                 polled_at_ms FROM pending_device WHERE device_code_hash = ?",
            )
            .bind(code.as_slice())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
            row.map(PendingDevice::try_from).transpose()
        });
        PortCall::database("find_device_request").run(call).await
    }

    async fn find_by_user_code(&self, code: &UserCode) -> Result<Option<PendingDevice>, SessionError> {
        let call = Box::pin(async {
            let row: Option<PendingDeviceRow> = sqlx::query_as(
                "SELECT user_code, name, address, decision, did, handle, created_at, expires_at, interval_secs, \
                 polled_at_ms FROM pending_device WHERE user_code = ?",
            )
            .bind(code.as_str())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
            row.map(PendingDevice::try_from).transpose()
        });
        PortCall::database("find_device_request_by_code").run(call).await
    }

    async fn note_poll(&self, code: &SecretHash, device: &PendingDevice) -> Result<(), SessionError> {
        let call = Box::pin(async {
            sqlx::query(
                "UPDATE pending_device SET interval_secs = ?, polled_at_ms = ? WHERE device_code_hash = ?",
            )
            .bind(device.interval.num_seconds())
            .bind(device.polled_at.map(|at| at.timestamp_millis()))
            .bind(code.as_slice())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
            Ok(())
        });
        PortCall::database("note_device_poll").run(call).await
    }

    async fn decide(
        &self,
        code: &UserCode,
        decision: &Decision,
        now: DateTime<Utc>,
    ) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let (decision, did, handle) = columns(decision);
            let updated = sqlx::query(
                "UPDATE pending_device SET decision = ?, did = ?, handle = ? \
                 WHERE user_code = ? AND decision = 'pending' AND expires_at > ?",
            )
            .bind(decision)
            .bind(did)
            .bind(handle)
            .bind(code.as_str())
            .bind(now.timestamp())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
            Ok(updated.rows_affected() == 1)
        });
        PortCall::database("decide_device_request").run(call).await
    }

    async fn redeem(
        &self,
        code: &SecretHash,
        approval: &Approval,
        secret: &NewSecret,
        now: DateTime<Utc>,
    ) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            let taken: Option<(String, String)> = sqlx::query_as(
                "DELETE FROM pending_device \
                 WHERE device_code_hash = ? AND decision = 'approved' AND did = ? AND expires_at > ? \
                 RETURNING name, address",
            )
            .bind(code.as_slice())
            .bind(approval.did.as_str())
            .bind(now.timestamp())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
            let Some((name, address)) = taken else {
                return Ok(false);
            };
            sqlx::query(
                "INSERT INTO device (id, secret_hash, did, handle, name, address, created_at) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&secret.id)
            .bind(secret.hash.as_slice())
            .bind(approval.did.as_str())
            .bind(&approval.handle)
            .bind(name)
            .bind(address)
            .bind(now.timestamp())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(true)
        });
        PortCall::database("redeem_device_request").run(call).await
    }

    async fn find(&self, id: &str) -> Result<Option<KnownDevice>, SessionError> {
        let call = Box::pin(async {
            let row: Option<DeviceRow> = sqlx::query_as(
                "SELECT id, secret_hash, did, name, address, created_at, last_used_at, last_address \
                 FROM device WHERE id = ?",
            )
            .bind(id)
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
            row.map(KnownDevice::try_from).transpose()
        });
        PortCall::database("find_device").run(call).await
    }

    async fn list(&self, did: &Did) -> Result<Vec<Device>, SessionError> {
        let call = Box::pin(async {
            // Index device_by_did; as many rows as the account has devices.
            let rows: Vec<DeviceRow> = sqlx::query_as(
                "SELECT id, secret_hash, did, name, address, created_at, last_used_at, last_address \
                 FROM device WHERE did = ? ORDER BY created_at DESC, id",
            )
            .bind(did.as_str())
            .fetch_all(self.database.readers())
            .await
            .map_err(failed)?;
            rows.into_iter()
                .map(|row| KnownDevice::try_from(row).map(|known| known.device))
                .collect()
        });
        PortCall::database("list_devices").run(call).await
    }

    async fn note_use(
        &self,
        id: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<(), SessionError> {
        let call = Box::pin(async {
            sqlx::query("UPDATE device SET last_used_at = ?, last_address = ? WHERE id = ?")
                .bind(now.timestamp())
                .bind(address.map(|address| address.to_string()))
                .bind(id)
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(())
        });
        PortCall::database("note_device_use").run(call).await
    }

    async fn delete(&self, did: &Did, id: &str) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let deleted = sqlx::query("DELETE FROM device WHERE did = ? AND id = ?")
                .bind(did.as_str())
                .bind(id)
                .execute(self.database.writer())
                .await
                .map_err(failed)?;
            Ok(deleted.rows_affected() == 1)
        });
        PortCall::database("delete_device").run(call).await
    }

    async fn any(&self, did: &Did, now: DateTime<Utc>) -> Result<bool, SessionError> {
        let call = Box::pin(async {
            let found: Option<i64> = sqlx::query_scalar(
                "SELECT 1 FROM device WHERE did = ?1 UNION ALL \
                 SELECT 1 FROM pending_device WHERE did = ?1 AND decision = 'approved' AND expires_at > ?2 LIMIT 1",
            )
            .bind(did.as_str())
            .bind(now.timestamp())
            .fetch_optional(self.database.readers())
            .await.map_err(failed)?;
            Ok(found.is_some())
        });
        PortCall::database("has_devices").run(call).await
    }

    async fn delete_all(&self, did: &Did) -> Result<(), SessionError> {
        let call = Box::pin(async {
            let mut transaction = self.database.writer().begin().await.map_err(failed)?;
            for statement in [
                "DELETE FROM device WHERE did = ?",
                "DELETE FROM pending_device WHERE did = ?",
            ] {
                sqlx::query(statement)
                    .bind(did.as_str())
                    .execute(&mut *transaction)
                    .await
                    .map_err(failed)?;
            }
            transaction.commit().await.map_err(failed)?;
            Ok(())
        });
        PortCall::database("delete_devices").run(call).await
    }
}
