//! Holds, memberships, scans.

use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::fact::Severities;
use atcr_index::stored::{self, digest_bytes};
use atcr_index::view::{HoldView, MembershipView, RepositoryHold, RepositoryId, ScanView};
use atcr_oci::Digest;
use sqlx::{FromRow, SqliteConnection};

use super::accounts::owner;
use crate::failed;

/// Holds of one repository.
const MAX_HOLDS: i64 = 32;

/// Memberships of one account.
const MAX_MEMBERSHIPS: i64 = 100;

/// Scans of one manifest.
const MAX_SCANS: i64 = 8;

/// The columns of a [`HoldRow`], of `captain c` and `account a`.
const HOLD: &str =
    "a.did, a.handle, c.owner, c.is_public, c.allow_all_crew, c.region, c.successor, c.deployed_at";

#[derive(FromRow)]
struct HoldRow {
    did: String,
    handle: String,
    owner: String,
    is_public: bool,
    allow_all_crew: bool,
    region: String,
    successor: String,
    deployed_at: i64,
}

impl HoldRow {
    fn view(self) -> Result<HoldView, IndexError> {
        Ok(HoldView {
            hold: owner(&self.did, &self.handle)?,
            captain: stored::did(&self.owner)?,
            is_public: self.is_public,
            allow_all_crew: self.allow_all_crew,
            region: self.region,
            successor: stored::some_did(&self.successor)?,
            deployed_at: stored::instant(self.deployed_at),
        })
    }
}

pub(super) async fn of_repository(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
) -> Result<Vec<RepositoryHold>, IndexError> {
    let found: Vec<(String, i64)> = sqlx::query_as(
        "SELECT h.hold, h.manifests FROM repository r CROSS JOIN repository_hold h ON h.repository = r.id \
         WHERE r.id = ? AND r.listed = 1 ORDER BY h.manifests DESC, h.hold LIMIT ?",
    )
    .bind(repository.0)
    .bind(MAX_HOLDS)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    found
        .into_iter()
        .map(|(hold, manifests)| {
            Ok(RepositoryHold {
                hold: stored::did(&hold)?,
                manifests: stored::count(manifests),
            })
        })
        .collect()
}

pub(super) async fn one(
    connection: &mut SqliteConnection,
    did: &Did,
) -> Result<Option<HoldView>, IndexError> {
    let statement = format!(
        "SELECT {HOLD} FROM account a CROSS JOIN captain c ON c.account = a.id \
         WHERE a.did = ? AND a.status = 0 AND a.taken_down = 0"
    );
    let row: Option<HoldRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(did.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    row.map(HoldRow::view).transpose()
}

pub(super) async fn open(connection: &mut SqliteConnection, limit: u32) -> Result<Vec<HoldView>, IndexError> {
    // By age: what is new and open to everyone is the least known.
    let statement = format!(
        "SELECT {HOLD} FROM captain c INDEXED BY captain_open CROSS JOIN account a ON a.id = c.account \
         WHERE c.allow_all_crew = 1 AND a.status = 0 AND a.taken_down = 0 ORDER BY c.deployed_at LIMIT ?"
    );
    let rows: Vec<HoldRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(limit.min(atcr_index::page::MAX_PAGE))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.into_iter().map(HoldRow::view).collect()
}

#[derive(FromRow)]
struct MembershipRow {
    #[sqlx(flatten)]
    hold: HoldRow,
    permissions: Option<String>,
    tier: Option<String>,
}

pub(super) async fn memberships(
    connection: &mut SqliteConnection,
    did: &Did,
) -> Result<Vec<MembershipView>, IndexError> {
    let statement = format!(
        "WITH mine AS (SELECT account FROM crew WHERE member = ?1 UNION SELECT account FROM captain WHERE owner = ?1) \
         SELECT {HOLD}, w.permissions, w.tier FROM mine CROSS JOIN captain c ON c.account = mine.account \
         CROSS JOIN account a ON a.id = mine.account \
         LEFT JOIN crew w ON w.account = mine.account AND w.rkey = ( \
             SELECT x.rkey FROM crew x WHERE x.member = ?1 AND x.account = mine.account ORDER BY x.added_at LIMIT 1) \
         WHERE a.status = 0 AND a.taken_down = 0 ORDER BY a.did LIMIT ?2"
    );
    let rows: Vec<MembershipRow> = sqlx::query_as(sqlx::AssertSqlSafe(statement))
        .bind(did.as_str())
        .bind(MAX_MEMBERSHIPS)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.into_iter()
        .map(|row| {
            Ok(MembershipView {
                hold: row.hold.view()?,
                permissions: row
                    .permissions
                    .as_deref()
                    .map(stored::strings)
                    .transpose()?
                    .unwrap_or_default(),
                tier: row.tier.unwrap_or_default(),
            })
        })
        .collect()
}

#[derive(FromRow)]
struct ScanRow {
    hold: String,
    critical: u32,
    high: u32,
    medium: u32,
    low: u32,
    total: u32,
    scanner: String,
    scanned_at: i64,
    sbom: Vec<u8>,
    report: Vec<u8>,
}

pub(super) async fn scans(
    connection: &mut SqliteConnection,
    did: &Did,
    digest: &Digest,
) -> Result<Vec<ScanView>, IndexError> {
    // Begins with the manifest's own records: holds that it does not name cost nothing.
    let rows: Vec<ScanRow> = sqlx::query_as(
        "SELECT h.did AS hold, s.critical, s.high, s.medium, s.low, s.total, s.scanner, s.scanned_at, s.sbom, s.report \
         FROM (SELECT DISTINCT m.hold FROM account o CROSS JOIN manifest m ON m.account = o.id AND m.digest = ?2 \
               WHERE o.did = ?1) named \
         CROSS JOIN account h ON h.did = named.hold \
         CROSS JOIN scan s ON s.account = h.id AND s.rkey = ?3 AND s.owner = ?1 AND s.digest = ?2 \
         WHERE h.status = 0 AND h.taken_down = 0 ORDER BY s.scanned_at DESC LIMIT ?4",
    )
    .bind(did.as_str())
    .bind(digest_bytes(digest))
    .bind(atcr_atproto::lexicon::scan::rkey(digest.as_str()).map(String::from).unwrap_or_default())
    .bind(MAX_SCANS)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.into_iter()
        .map(|row| {
            Ok(ScanView {
                hold: stored::did(&row.hold)?,
                severities: Severities {
                    critical: row.critical,
                    high: row.high,
                    medium: row.medium,
                    low: row.low,
                    total: row.total,
                },
                scanner: row.scanner,
                scanned_at: stored::instant(row.scanned_at),
                sbom: stored::some_cid(&row.sbom)?,
                report: stored::some_cid(&row.report)?,
            })
        })
        .collect()
}
