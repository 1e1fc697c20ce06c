//! The crew as a list that is searched and sorted, and who keeps how much.

use atcr_atproto::syntax::RecordKey;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::holdings::Usage;
use super::{Index, bad_row, number, to_sql};
use crate::error::RepoError;

/// In what order the crew is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RosterOrder {
    /// Who joined last comes first.
    #[default]
    Newest,
    /// Who keeps most comes first.
    Largest,
}

/// A place in the list: what a member is sorted by, and the key of the member's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterPlace {
    /// Microseconds since 1970, or bytes.
    pub by: u64,
    /// The record's key.
    pub rkey: RecordKey,
}

/// From where a page of the list goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RosterFrom {
    /// From the beginning.
    #[default]
    Top,
    /// From below that place.
    Below(RosterPlace),
    /// The page that ends above that place.
    Above(RosterPlace),
}

/// Which part of the crew.
#[derive(Clone, Debug, Default)]
pub struct RosterQuery {
    /// Only members whose DID has this text, or who are among `or_members`; empty for all.
    pub text: String,
    /// Members who are found whatever their DID is, such as those whose handle has the text.
    pub or_members: Vec<String>,
    /// Only members of this tier.
    pub tier: Option<String>,
    /// The order.
    pub order: RosterOrder,
    /// Where the page begins or ends.
    pub from: RosterFrom,
    /// At most so many.
    pub limit: usize,
}

/// A member in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// The record's key.
    pub rkey: RecordKey,
    /// The member's DID, as the record says it.
    pub member: String,
    /// The label.
    pub role: String,
    /// The permissions' words.
    pub permissions: Vec<String>,
    /// The tier that the record names.
    pub tier: Option<String>,
    /// Since when, in microseconds since 1970.
    pub added_micros: u64,
    /// What the member keeps.
    pub usage: Usage,
}

impl RosterEntry {
    /// Its place in the list.
    #[must_use]
    pub fn place(&self, order: RosterOrder) -> RosterPlace {
        RosterPlace {
            by: match order {
                RosterOrder::Newest => self.added_micros,
                RosterOrder::Largest => self.usage.total_bytes,
            },
            rkey: self.rkey.clone(),
        }
    }
}

/// A page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterPage {
    /// The members.
    pub entries: Vec<RosterEntry>,
    /// There are more above.
    pub has_above: bool,
    /// There are more below.
    pub has_below: bool,
}

/// Accounts of one query.
const ACCOUNTS_PER_QUERY: usize = 500;

/// What all accounts keep. A digest that several accounts have counts for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Accounts that keep something.
    pub accounts: u64,
    /// Their digests, added up.
    pub blobs: u64,
    /// Their bytes, added up.
    pub bytes: u64,
}

/// What an account keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUsage {
    /// Whose.
    pub account: String,
    /// What.
    pub usage: Usage,
}

/// A digest, and in how many layer records it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFigures {
    /// The digest.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
    /// Layer records that name it.
    pub records: u64,
}

/// What the layers are together, each digest once. Counting it reads them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerTotals {
    /// Distinct digests.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The largest.
    pub largest: Vec<LayerFigures>,
}

impl Index {
    pub(crate) async fn roster(&self, query: &RosterQuery) -> Result<RosterPage, RepoError> {
        let by = match query.order {
            RosterOrder::Newest => "c.added_micros",
            RosterOrder::Largest => "coalesce(u.total_bytes, 0)",
        };
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT c.rkey, c.member, c.role, c.permissions, c.tier, c.added_micros,
                    coalesce(u.unique_blobs, 0) AS unique_blobs, coalesce(u.total_bytes, 0) AS total_bytes
             FROM crew c LEFT JOIN user_usage u ON u.user_did = c.member WHERE 1",
        );
        if !query.text.is_empty() {
            sql.push(" AND (instr(c.member, ")
                .push_bind(&query.text)
                .push(") > 0");
            if !query.or_members.is_empty() {
                sql.push(" OR c.member IN (");
                let mut members = sql.separated(", ");
                for member in &query.or_members {
                    members.push_bind(member);
                }
                sql.push(")");
            }
            sql.push(")");
        }
        if let Some(tier) = &query.tier {
            sql.push(" AND c.tier = ").push_bind(tier);
        }
        let (place, is_upwards) = match &query.from {
            RosterFrom::Top => (None, false),
            RosterFrom::Below(place) => (Some(place), false),
            RosterFrom::Above(place) => (Some(place), true),
        };
        if let Some(place) = place {
            sql.push(format_args!(
                " AND ({by}, c.rkey) {} (",
                if is_upwards { ">" } else { "<" }
            ));
            sql.push_bind(to_sql(place.by)).push(", ");
            sql.push_bind(place.rkey.as_str()).push(")");
        }
        let direction = if is_upwards { "ASC" } else { "DESC" };
        sql.push(format_args!(
            " ORDER BY {by} {direction}, c.rkey {direction} LIMIT "
        ));
        sql.push_bind(to_sql(query.limit as u64 + 1));
        let rows = sql.build().fetch_all(self.readers()).await?;
        let has_more = rows.len() > query.limit;
        let mut entries: Vec<RosterEntry> = rows
            .iter()
            .take(query.limit)
            .map(entry)
            .collect::<Result<_, _>>()?;
        if is_upwards {
            entries.reverse();
        }
        Ok(RosterPage {
            entries,
            has_above: if is_upwards { has_more } else { place.is_some() },
            has_below: if is_upwards { true } else { has_more },
        })
    }

    /// Those of `accounts` that are members.
    pub(crate) async fn members_among(&self, accounts: &[String]) -> Result<Vec<String>, RepoError> {
        let mut members = Vec::new();
        for accounts in accounts.chunks(ACCOUNTS_PER_QUERY) {
            let mut sql = QueryBuilder::<Sqlite>::new("SELECT DISTINCT member FROM crew WHERE member IN (");
            let mut names = sql.separated(", ");
            for account in accounts {
                names.push_bind(account);
            }
            sql.push(")");
            let found: Vec<String> = sql.build_query_scalar().fetch_all(self.readers()).await?;
            members.extend(found);
        }
        Ok(members)
    }

    /// Members of each tier that records name; `None` for those without one.
    pub(crate) async fn crew_by_tier(&self) -> Result<Vec<(Option<String>, u64)>, RepoError> {
        let rows = sqlx::query("SELECT tier, count(*) AS members FROM crew GROUP BY tier ORDER BY tier")
            .fetch_all(self.readers())
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("tier")?, number(row, "crew", "members")?)))
            .collect()
    }

    pub(crate) async fn usage_totals(&self) -> Result<UsageTotals, RepoError> {
        let row = sqlx::query(
            "SELECT count(*) AS accounts, coalesce(sum(unique_blobs), 0) AS blobs,
                    coalesce(sum(total_bytes), 0) AS bytes FROM user_usage",
        )
        .fetch_one(self.readers())
        .await?;
        Ok(UsageTotals {
            accounts: number(&row, "user_usage", "accounts")?,
            blobs: number(&row, "user_usage", "blobs")?,
            bytes: number(&row, "user_usage", "bytes")?,
        })
    }

    pub(crate) async fn largest_accounts(&self, limit: usize) -> Result<Vec<AccountUsage>, RepoError> {
        let rows = sqlx::query(
            "SELECT user_did, unique_blobs, total_bytes FROM user_usage
             ORDER BY total_bytes DESC, user_did LIMIT ?",
        )
        .bind(to_sql(limit as u64))
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(AccountUsage {
                    account: row.try_get("user_did")?,
                    usage: usage(row, "user_usage")?,
                })
            })
            .collect()
    }

    pub(crate) async fn layer_totals(&self, largest: usize) -> Result<LayerTotals, RepoError> {
        // One pass: the digests are gathered in a table of SQLite's own, which may be on the disk.
        let rows = sqlx::query(
            "SELECT digest, bytes, records, count(*) OVER () AS blobs, sum(bytes) OVER () AS total
             FROM (SELECT digest, max(size) AS bytes, sum(layers) AS records FROM user_blobs GROUP BY digest)
             ORDER BY bytes DESC, digest LIMIT ?",
        )
        .bind(to_sql(largest as u64))
        .fetch_all(self.readers())
        .await?;
        let Some(first) = rows.first() else {
            return Ok(LayerTotals::default());
        };
        Ok(LayerTotals {
            blobs: number(first, "user_blobs", "blobs")?,
            bytes: number(first, "user_blobs", "total")?,
            largest: rows
                .iter()
                .map(|row| {
                    Ok(LayerFigures {
                        digest: row.try_get("digest")?,
                        bytes: number(row, "user_blobs", "bytes")?,
                        records: number(row, "user_blobs", "records")?,
                    })
                })
                .collect::<Result<_, RepoError>>()?,
        })
    }
}

fn usage(row: &SqliteRow, table: &'static str) -> Result<Usage, RepoError> {
    Ok(Usage {
        unique_blobs: number(row, table, "unique_blobs")?,
        total_bytes: number(row, table, "total_bytes")?,
    })
}

fn entry(row: &SqliteRow) -> Result<RosterEntry, RepoError> {
    let rkey: String = row.try_get("rkey")?;
    let permissions: String = row.try_get("permissions")?;
    Ok(RosterEntry {
        rkey: rkey.parse().map_err(|_| bad_row("crew", "rkey"))?,
        member: row.try_get("member")?,
        role: row.try_get("role")?,
        permissions: permissions
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        tier: row.try_get("tier")?,
        added_micros: number(row, "crew", "added_micros")?,
        usage: usage(row, "user_usage")?,
    })
}
