//! Upload sessions and their parts.
//!
//! They are in the scratch file: after a power failure a session may stand at an earlier offset, be gone, or be there again. Its row
//! and its parts are one commit, so offset, digests and parts agree whatever it was undone to:
//!
//! - Gone: `BLOB_UPLOAD_UNKNOWN`, and the client begins anew. The spool's bytes and the hold's upload are swept.
//! - At an earlier offset: a chunk that names its range is refused with 416 and the offset; one that does not makes bytes missing
//!   in the middle, which the digest shows. Parts that the store has beyond those of the row are sent again under their numbers,
//!   or refused by it. The bytes in the spool are hashed before they are believed, since the run that wrote them has ended
//!   ([`UploadSession::tail_is_intact`]).
//! - There again: its upload has ended at the hold, which says so; a completion finds the blob.

use std::str::FromStr;

use async_trait::async_trait;
use atcr_auth::principal::AuthMethod;
use atcr_oci::UploadSessionId;
use atcr_registry::blob::ports::{StoreTraits, UploadedPart};
use atcr_registry::error::RegistryError;
use atcr_registry::hold::ports::HoldRef;
use atcr_registry::upload::hash::UploadHash;
use atcr_registry::upload::ports::UploadSessions;
use atcr_registry::upload::session::{RemoteUpload, UploadSession};
use chrono::{DateTime, Utc};
use sqlx::{FromRow, SqliteConnection};
use url::Url;

use super::{Database, failed};

/// Names looked up by one statement; SQLite takes many more, this keeps the statement readable in its cache.
const NAMES_AT_ONCE: usize = 100;

/// [`UploadSessions`] in the database.
#[derive(Clone, Debug)]
pub struct SqliteUploads {
    database: Database,
}

impl SqliteUploads {
    /// Keeps the sessions in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn complete(&self, row: SessionRow) -> Result<UploadSession, RegistryError> {
        let parts = sqlx::query_as::<_, PartRow>(
            "SELECT number, etag, size_bytes FROM upload_part WHERE session_id = ? ORDER BY number",
        )
        .bind(&row.id)
        .fetch_all(self.database.readers())
        .await
        .map_err(failed)?;
        row.into_session(parts)
    }
}

#[derive(FromRow)]
struct SessionRow {
    id: String,
    did: String,
    auth_method: String,
    repository: String,
    hold_did: String,
    hold_endpoint: String,
    remote_id: Option<String>,
    min_part_size: i64,
    max_part_size: Option<i64>,
    store_hashes: bool,
    store_streams: bool,
    store_announced: bool,
    offset_bytes: i64,
    hash_state: Vec<u8>,
    tail_hash_state: Vec<u8>,
    written_by: i64,
    expires_at: i64,
}

#[derive(FromRow)]
struct PartRow {
    number: i64,
    etag: String,
    size_bytes: i64,
}

/// A query for whole rows.
macro_rules! sessions {
    ($which:literal) => {
        concat!(
            "SELECT id, did, auth_method, repository, hold_did, hold_endpoint, remote_id, min_part_size, ",
            "max_part_size, store_hashes, store_streams, store_announced, offset_bytes, hash_state, ",
            "tail_hash_state, written_by, expires_at FROM upload_session ",
            $which
        )
    };
}

impl SessionRow {
    fn into_session(self, parts: Vec<PartRow>) -> Result<UploadSession, RegistryError> {
        let remote = match self.remote_id {
            None => None,
            Some(id) => Some(RemoteUpload {
                id,
                traits: StoreTraits {
                    min_part_size: unsigned(self.min_part_size, "min_part_size")?,
                    max_part_size: self
                        .max_part_size
                        .map(|size| unsigned(size, "max_part_size"))
                        .transpose()?,
                    hashes: self.store_hashes,
                    streaming: self.store_streams,
                    announced: self.store_announced,
                },
            }),
        };
        let parts = parts
            .into_iter()
            .map(UploadedPart::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        let hash = |state: &[u8], column| UploadHash::restore(state).map_err(|_| corrupt(column));
        Ok(UploadSession {
            id: parse(&self.id, "id")?,
            did: parse(&self.did, "did")?,
            auth_method: auth_method(&self.auth_method)?,
            repository: parse(&self.repository, "repository")?,
            hold: HoldRef {
                did: parse(&self.hold_did, "hold_did")?,
                endpoint: parse::<Url>(&self.hold_endpoint, "hold_endpoint")?,
            },
            remote,
            offset: unsigned(self.offset_bytes, "offset_bytes")?,
            hash: hash(&self.hash_state, "hash_state")?,
            tail_hash: hash(&self.tail_hash_state, "tail_hash_state")?,
            parts,
            written_by: self.written_by,
            expires_at: DateTime::from_timestamp(self.expires_at, 0).ok_or_else(|| corrupt("expires_at"))?,
        })
    }
}

impl TryFrom<PartRow> for UploadedPart {
    type Error = RegistryError;

    fn try_from(row: PartRow) -> Result<Self, RegistryError> {
        Ok(Self {
            number: u32::try_from(row.number).map_err(|_| corrupt("number"))?,
            etag: row.etag,
            size: unsigned(row.size_bytes, "size_bytes")?,
        })
    }
}

#[async_trait]
impl UploadSessions for SqliteUploads {
    async fn insert(&self, session: &UploadSession, most: u32) -> Result<bool, RegistryError> {
        let inserted = sqlx::query(
            "INSERT INTO upload_session (id, did, auth_method, repository, hold_did, hold_endpoint, hash_state, \
             tail_hash_state, written_by, expires_at) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 \
             WHERE (SELECT count(*) FROM upload_session WHERE did = ?2) < ?11",
        )
        .bind(session.id.as_str())
        .bind(session.did.as_str())
        .bind(auth_method_text(session.auth_method))
        .bind(session.repository.to_string())
        .bind(session.hold.did.as_str())
        .bind(session.hold.endpoint.as_str())
        .bind(session.hash.save())
        .bind(session.tail_hash.save())
        .bind(session.written_by)
        .bind(session.expires_at.timestamp())
        .bind(most)
        .execute(self.database.writer())
        .await.map_err(failed)?;
        Ok(inserted.rows_affected() > 0)
    }

    async fn get(&self, id: &UploadSessionId) -> Result<Option<UploadSession>, RegistryError> {
        let row = sqlx::query_as::<_, SessionRow>(sessions!("WHERE id = ?"))
            .bind(id.as_str())
            .fetch_optional(self.database.readers())
            .await
            .map_err(failed)?;
        match row {
            Some(row) => Ok(Some(self.complete(row).await?)),
            None => Ok(None),
        }
    }

    async fn begun(&self, id: &UploadSessionId, remote: &RemoteUpload) -> Result<bool, RegistryError> {
        let traits = &remote.traits;
        let updated = sqlx::query(
            "UPDATE upload_session SET remote_id = ?, min_part_size = ?, max_part_size = ?, store_hashes = ?, \
             store_streams = ?, store_announced = ? WHERE id = ?",
        )
        .bind(&remote.id)
        .bind(signed(traits.min_part_size))
        .bind(traits.max_part_size.map(signed))
        .bind(traits.hashes)
        .bind(traits.streaming)
        .bind(traits.announced)
        .bind(id.as_str())
        .execute(self.database.writer())
        .await.map_err(failed)?;
        Ok(updated.rows_affected() > 0)
    }

    async fn advance(&self, session: &UploadSession) -> Result<bool, RegistryError> {
        let id = session.id.as_str();
        let mut transaction = self.database.writer().begin().await.map_err(failed)?;
        let updated = sqlx::query(
            "UPDATE upload_session SET offset_bytes = ?, hash_state = ?, tail_hash_state = ?, written_by = ?, \
             expires_at = ? WHERE id = ?",
        )
        .bind(signed(session.offset))
        .bind(session.hash.save())
        .bind(session.tail_hash.save())
        .bind(session.written_by)
        .bind(session.expires_at.timestamp())
        .bind(id)
        .execute(&mut *transaction)
        .await.map_err(failed)?;
        if updated.rows_affected() == 0 {
            return Ok(false);
        }
        add_parts(&mut transaction, id, &session.parts).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }

    async fn remove(&self, id: &UploadSessionId) -> Result<(), RegistryError> {
        sqlx::query("DELETE FROM upload_session WHERE id = ?")
            .bind(id.as_str())
            .execute(self.database.writer())
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn expired(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<UploadSession>, RegistryError> {
        let rows =
            sqlx::query_as::<_, SessionRow>(sessions!("WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"))
                .bind(now.timestamp())
                .bind(limit)
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
        let mut sessions = Vec::with_capacity(rows.len());
        for row in rows {
            sessions.push(self.complete(row).await?);
        }
        Ok(sessions)
    }

    async fn existing(&self, ids: &[UploadSessionId]) -> Result<Vec<UploadSessionId>, RegistryError> {
        let mut existing = Vec::new();
        for ids in ids.chunks(NAMES_AT_ONCE) {
            let mut query = sqlx::QueryBuilder::new("SELECT id FROM upload_session WHERE id IN (");
            let mut names = query.separated(", ");
            for id in ids {
                names.push_bind(id.as_str());
            }
            query.push(")");
            let found: Vec<String> = query
                .build_query_scalar()
                .fetch_all(self.database.readers())
                .await
                .map_err(failed)?;
            for id in found {
                existing.push(parse(&id, "id")?);
            }
        }
        Ok(existing)
    }
}

/// Adds the parts that are not stored yet: parts only ever grow.
async fn add_parts(
    connection: &mut SqliteConnection,
    session: &str,
    parts: &[UploadedPart],
) -> Result<(), RegistryError> {
    let stored: i64 =
        sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM upload_part WHERE session_id = ?")
            .bind(session)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
    for part in parts.iter().filter(|part| i64::from(part.number) > stored) {
        sqlx::query("INSERT INTO upload_part (session_id, number, etag, size_bytes) VALUES (?, ?, ?, ?)")
            .bind(session)
            .bind(part.number)
            .bind(&part.etag)
            .bind(signed(part.size))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

fn parse<T: FromStr>(text: &str, column: &'static str) -> Result<T, RegistryError> {
    text.parse().map_err(|_| corrupt(column))
}

fn unsigned(value: i64, column: &'static str) -> Result<u64, RegistryError> {
    u64::try_from(value).map_err(|_| corrupt(column))
}

/// Sizes are at most 5 TiB here, and a limit beyond 2^63 is none.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn auth_method(text: &str) -> Result<AuthMethod, RegistryError> {
    match text {
        "oauth" => Ok(AuthMethod::OAuth),
        "app_password" => Ok(AuthMethod::AppPassword),
        _ => Err(corrupt("auth_method")),
    }
}

fn auth_method_text(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::OAuth => "oauth",
        AuthMethod::AppPassword => "app_password",
    }
}

fn corrupt(column: &'static str) -> RegistryError {
    RegistryError::Corrupt {
        what: format!("upload_session.{column}"),
    }
}
