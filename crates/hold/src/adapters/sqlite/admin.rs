//! The tables of the admin site.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use atcr_server::database::Database;
use atcr_server::port_call::PortCall;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, QueryBuilder, Sqlite};

use crate::admin::TableError;
use crate::admin::accounts::HandleTable;
use crate::admin::audit::{AuditTable, Entry, Seal};
use crate::admin::history::{Day, DayTable};
use crate::admin::sessions::{Browser, Hash, Session, SessionTable};

/// Sessions, the audit log, days and handles, in the hold's database.
#[derive(Clone, Debug)]
pub struct SqliteAdmin {
    database: Database,
}

impl SqliteAdmin {
    /// Uses `database`, which must be migrated.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

fn corrupt(column: &'static str) -> TableError {
    TableError::Corrupt { column }
}

fn hash(bytes: &[u8], column: &'static str) -> Result<Hash, TableError> {
    bytes.try_into().map_err(|_| corrupt(column))
}

#[derive(FromRow)]
struct SessionRow {
    did: String,
    handle: Option<String>,
    user_agent: Vec<u8>,
    network: String,
    created_at: i64,
    expires_at: i64,
}

impl TryFrom<SessionRow> for Session {
    type Error = TableError;

    fn try_from(row: SessionRow) -> Result<Self, TableError> {
        let time = |seconds, column| DateTime::from_timestamp(seconds, 0).ok_or_else(|| corrupt(column));
        Ok(Self {
            did: row.did.parse().map_err(|_| corrupt("admin_sessions.did"))?,
            handle: row.handle,
            browser: Browser {
                user_agent: hash(&row.user_agent, "admin_sessions.user_agent")?,
                network: row.network,
            },
            created_at: time(row.created_at, "admin_sessions.created_at")?,
            expires_at: time(row.expires_at, "admin_sessions.expires_at")?,
        })
    }
}

#[async_trait]
impl SessionTable for SqliteAdmin {
    async fn insert(&self, token: &Hash, session: &Session, now: DateTime<Utc>) -> Result<(), TableError> {
        let call = Box::pin(async {
            let mut step = self.database.writer().begin().await?;
            sqlx::query("DELETE FROM admin_sessions WHERE expires_at <= ?")
                .bind(now.timestamp())
                .execute(&mut *step)
                .await?;
            sqlx::query(
                "INSERT INTO admin_sessions (token_hash, did, handle, user_agent, network, created_at, expires_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(token.as_slice())
            .bind(session.did.as_str())
            .bind(&session.handle)
            .bind(session.browser.user_agent.as_slice())
            .bind(&session.browser.network)
            .bind(session.created_at.timestamp())
            .bind(session.expires_at.timestamp())
            .execute(&mut *step)
            .await?;
            step.commit().await?;
            Ok(())
        });
        PortCall::database("insert_admin_session").run(call).await
    }

    async fn find(&self, token: &Hash, now: DateTime<Utc>) -> Result<Option<Session>, TableError> {
        let call = async {
            let row: Option<SessionRow> = sqlx::query_as(
                "SELECT did, handle, user_agent, network, created_at, expires_at FROM admin_sessions
                 WHERE token_hash = ? AND expires_at > ?",
            )
            .bind(token.as_slice())
            .bind(now.timestamp())
            .fetch_optional(self.database.readers())
            .await?;
            row.map(Session::try_from).transpose()
        };
        PortCall::database("find_admin_session").run(Box::pin(call)).await
    }

    async fn delete(&self, token: &Hash) -> Result<(), TableError> {
        let call = async {
            sqlx::query("DELETE FROM admin_sessions WHERE token_hash = ?")
                .bind(token.as_slice())
                .execute(self.database.writer())
                .await?;
            Ok(())
        };
        PortCall::database("delete_admin_session")
            .run(Box::pin(call))
            .await
    }
}

#[derive(FromRow)]
struct EntryRow {
    seq: i64,
    at: i64,
    actor: String,
    action: String,
    subject: String,
    detail: String,
    hash: Vec<u8>,
}

impl TryFrom<EntryRow> for Entry {
    type Error = TableError;

    fn try_from(row: EntryRow) -> Result<Self, TableError> {
        Ok(Self {
            seq: u64::try_from(row.seq).map_err(|_| corrupt("audit_log.seq"))?,
            at: DateTime::from_timestamp_millis(row.at).ok_or_else(|| corrupt("audit_log.at"))?,
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            hash: hash(&row.hash, "audit_log.hash")?,
        })
    }
}

fn entries(rows: Vec<EntryRow>) -> Result<Vec<Entry>, TableError> {
    rows.into_iter().map(Entry::try_from).collect()
}

fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl AuditTable for SqliteAdmin {
    async fn append(&self, entry: Entry, seal: Seal) -> Result<Entry, TableError> {
        let call = Box::pin(async {
            let mut step = self.database.writer().begin().await?;
            let last: Option<EntryRow> = sqlx::query_as(
                "SELECT seq, at, actor, action, subject, detail, hash FROM audit_log ORDER BY seq DESC LIMIT 1",
            )
            .fetch_optional(&mut *step)
            .await?;
            let last = last.map(Entry::try_from).transpose()?;
            let entry = seal(last.as_ref(), entry);
            sqlx::query(
                "INSERT INTO audit_log (seq, at, actor, action, subject, detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(to_sql(entry.seq))
            .bind(entry.at.timestamp_millis())
            .bind(&entry.actor)
            .bind(&entry.action)
            .bind(&entry.subject)
            .bind(&entry.detail)
            .bind(entry.hash.as_slice())
            .execute(&mut *step)
            .await?;
            step.commit().await?;
            Ok(entry)
        });
        PortCall::database("append_audit_entry").run(call).await
    }

    async fn newest(&self, below: Option<u64>, limit: u32) -> Result<Vec<Entry>, TableError> {
        let call = async {
            let rows = sqlx::query_as(
                "SELECT seq, at, actor, action, subject, detail, hash FROM audit_log WHERE seq < ?
                 ORDER BY seq DESC LIMIT ?",
            )
            .bind(below.map_or(i64::MAX, to_sql))
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?;
            entries(rows)
        };
        PortCall::database("list_audit_entries").run(Box::pin(call)).await
    }

    async fn oldest(&self, above: u64, limit: u32) -> Result<Vec<Entry>, TableError> {
        let call = async {
            let rows = sqlx::query_as(
                "SELECT seq, at, actor, action, subject, detail, hash FROM audit_log WHERE seq > ?
                 ORDER BY seq LIMIT ?",
            )
            .bind(to_sql(above))
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?;
            entries(rows)
        };
        PortCall::database("check_audit_entries")
            .run(Box::pin(call))
            .await
    }
}

#[derive(FromRow)]
struct DayRow {
    day: String,
    pushes: i64,
    pulls: i64,
    bytes: i64,
    accounts: i64,
    members: i64,
}

#[async_trait]
impl DayTable for SqliteAdmin {
    async fn note(&self, day: NaiveDate, found: Day) -> Result<(), TableError> {
        let call = async {
            sqlx::query(
                "INSERT INTO days (day, pushes, pulls, bytes, accounts, members) VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (day) DO UPDATE SET pushes = excluded.pushes, pulls = excluded.pulls,
                     bytes = excluded.bytes, accounts = excluded.accounts, members = excluded.members",
            )
            .bind(day.to_string())
            .bind(to_sql(found.pushes))
            .bind(to_sql(found.pulls))
            .bind(to_sql(found.bytes))
            .bind(to_sql(found.accounts))
            .bind(to_sql(found.members))
            .execute(self.database.writer())
            .await?;
            Ok(())
        };
        PortCall::database("note_day").run(Box::pin(call)).await
    }

    async fn since(&self, first: NaiveDate) -> Result<BTreeMap<NaiveDate, Day>, TableError> {
        let call = async {
            let rows: Vec<DayRow> = sqlx::query_as(
                "SELECT day, pushes, pulls, bytes, accounts, members FROM days WHERE day >= ?",
            )
            .bind(first.to_string())
            .fetch_all(self.database.readers())
            .await?;
            let number = |value, column| u64::try_from(value).map_err(|_| corrupt(column));
            rows.into_iter()
                .map(|row| {
                    let day = row.day.parse().map_err(|_| corrupt("days.day"))?;
                    let found = Day {
                        pushes: number(row.pushes, "days.pushes")?,
                        pulls: number(row.pulls, "days.pulls")?,
                        bytes: number(row.bytes, "days.bytes")?,
                        accounts: number(row.accounts, "days.accounts")?,
                        members: number(row.members, "days.members")?,
                    };
                    Ok((day, found))
                })
                .collect()
        };
        PortCall::database("list_days").run(Box::pin(call)).await
    }
}

#[async_trait]
impl HandleTable for SqliteAdmin {
    async fn handles(
        &self,
        accounts: &[String],
    ) -> Result<HashMap<String, (Option<String>, DateTime<Utc>)>, TableError> {
        // SQLite takes 32,766 values; pages have fewer accounts than that, exports do not.
        const AT_ONCE: usize = 1000;
        let call = async {
            let mut found = HashMap::new();
            for accounts in accounts.chunks(AT_ONCE) {
                let mut query = QueryBuilder::<Sqlite>::new(
                    "SELECT did, handle, looked_up_at FROM known_handles WHERE did IN (",
                );
                let mut names = query.separated(", ");
                for account in accounts {
                    names.push_bind(account);
                }
                query.push(")");
                let rows: Vec<(String, Option<String>, i64)> =
                    query.build_query_as().fetch_all(self.database.readers()).await?;
                for (did, handle, at) in rows {
                    let at = DateTime::from_timestamp(at, 0)
                        .ok_or_else(|| corrupt("known_handles.looked_up_at"))?;
                    found.insert(did, (handle, at));
                }
            }
            Ok(found)
        };
        PortCall::database("known_handles").run(Box::pin(call)).await
    }

    async fn find(&self, text: &str, after: &str, limit: u32) -> Result<Vec<String>, TableError> {
        let call = async {
            Ok(sqlx::query_scalar(
                "SELECT did FROM known_handles WHERE did > ? AND instr(handle, ?) > 0 ORDER BY did LIMIT ?",
            )
            .bind(after)
            .bind(text)
            .bind(limit)
            .fetch_all(self.database.readers())
            .await?)
        };
        PortCall::database("find_handles").run(Box::pin(call)).await
    }

    async fn keep(&self, account: &str, handle: Option<&str>, now: DateTime<Utc>) -> Result<(), TableError> {
        let call = async {
            sqlx::query(
                "INSERT INTO known_handles (did, handle, looked_up_at) VALUES (?, ?, ?)
                 ON CONFLICT (did) DO UPDATE SET handle = excluded.handle, looked_up_at = excluded.looked_up_at",
            )
            .bind(account)
            .bind(handle)
            .bind(now.timestamp())
            .execute(self.database.writer())
            .await?;
            Ok(())
        };
        PortCall::database("keep_handle").run(Box::pin(call)).await
    }
}
