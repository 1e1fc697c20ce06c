//! What records of holds say.

use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::lexicon::manifest::digest_from_rkey;
use atcr_atproto::lexicon::scan::ScanRecord;
use atcr_atproto::lexicon::stats::{self, StatsRecord};
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_oci::Digest;
use chrono::{DateTime, Utc};

use super::is_self;
use super::text::{cut, instant, is_repository};

/// Permissions of one member that are kept.
const MAX_PERMISSIONS: usize = 16;

/// A hold's owner and rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptainFact {
    /// The captain.
    pub owner: Did,
    /// Everyone may read its blobs.
    pub is_public: bool,
    /// Every account may become a member.
    pub allow_all_crew: bool,
    /// Where it stores; empty when it does not say.
    pub region: String,
    /// The hold that replaces it.
    pub successor: Option<Did>,
    /// When it was set up.
    pub deployed_at: DateTime<Utc>,
}

impl CaptainFact {
    /// What `record` says; `None` under another key than `self`.
    #[must_use]
    pub fn of(rkey: &RecordKey, record: CaptainRecord) -> Option<Self> {
        is_self(rkey).then(|| Self {
            is_public: record.public,
            allow_all_crew: record.allow_all_crew,
            region: cut(record.region.as_deref().unwrap_or_default(), 64).to_owned(),
            successor: record.successor,
            deployed_at: instant(&record.deployed_at),
            owner: record.owner,
        })
    }
}

/// A hold's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrewFact {
    /// The member.
    pub member: Did,
    /// A label without effect.
    pub role: String,
    /// What the member may do.
    pub permissions: Vec<String>,
    /// The quota tier; empty for the hold's default.
    pub tier: String,
    /// Since when.
    pub added_at: DateTime<Utc>,
}

impl CrewFact {
    /// What `record` says. Keys are free: older holds chose others.
    #[must_use]
    pub fn of(record: CrewRecord) -> Option<Self> {
        let permissions = record.permissions.iter().take(MAX_PERMISSIONS);
        Some(Self {
            role: cut(&record.role, 32).to_owned(),
            permissions: permissions.map(|held| cut(held, 64).to_owned()).collect(),
            tier: cut(record.tier.as_deref().unwrap_or_default(), 32).to_owned(),
            added_at: instant(&record.added_at),
            member: record.member,
        })
    }
}

/// Pulls and pushes of a repository at a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsFact {
    /// Whose repository it is.
    pub owner: Did,
    /// The repository, without the owner.
    pub repository: String,
    /// Pulls since the hold began to count.
    pub pulls: u64,
    /// Pushes since the hold began to count.
    pub pushes: u64,
    /// The last pull.
    pub last_pull: Option<DateTime<Utc>>,
    /// The last push.
    pub last_push: Option<DateTime<Utc>>,
    /// When the hold wrote the record.
    pub updated_at: DateTime<Utc>,
}

impl StatsFact {
    /// What `record` says; `None` under a key that is not its repository's, so that a hold has one count of each.
    #[must_use]
    pub fn of(rkey: &RecordKey, record: &StatsRecord) -> Option<Self> {
        if !is_repository(&record.repository)
            || stats::rkey(&record.owner_did, &record.repository).ok()? != *rkey
        {
            return None;
        }
        // What a database's integers hold, with room for sums.
        let count = |count: u64| count.min(1 << 52);
        Some(Self {
            owner: record.owner_did.clone(),
            repository: record.repository.clone(),
            pulls: count(record.pull_count),
            pushes: count(record.push_count),
            last_pull: record.last_pull.as_ref().map(instant),
            last_push: record.last_push.as_ref().map(instant),
            updated_at: instant(&record.updated_at),
        })
    }
}

/// Vulnerabilities that a scan found, by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Severities {
    /// Critical.
    pub critical: u32,
    /// High.
    pub high: u32,
    /// Medium.
    pub medium: u32,
    /// Low.
    pub low: u32,
    /// All, those of other severities among them.
    pub total: u32,
}

/// The result of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanFact {
    /// The hold that scanned.
    pub hold: Did,
    /// Whose manifest it is.
    pub owner: Did,
    /// The manifest.
    pub digest: Digest,
    /// What was found.
    pub severities: Severities,
    /// The scanner and its version.
    pub scanner: String,
    /// When.
    pub scanned_at: DateTime<Utc>,
    /// The bill of materials, a blob at the hold.
    pub sbom: Option<Cid>,
    /// The vulnerabilities, a blob at the hold.
    pub report: Option<Cid>,
}

impl ScanFact {
    /// What `record` of the hold `hold` says; `None` when it names no manifest.
    #[must_use]
    pub fn of(hold: &Did, record: &ScanRecord) -> Option<Self> {
        let digest = digest_from_rkey(record.manifest.rkey()?.as_str())?;
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let found = &record.severities;
        Some(Self {
            hold: hold.clone(),
            owner: record.user_did.clone(),
            digest: digest.parse().ok()?,
            severities: Severities {
                critical: count(found.critical),
                high: count(found.high),
                medium: count(found.medium),
                low: count(found.low),
                total: count(found.total),
            },
            scanner: cut(&record.scanner_version, 64).to_owned(),
            scanned_at: instant(&record.scanned_at),
            sbom: record.sbom_blob.as_ref().map(|blob| blob.cid),
            report: record.vuln_report_blob.as_ref().map(|blob| blob.cid),
        })
    }
}
