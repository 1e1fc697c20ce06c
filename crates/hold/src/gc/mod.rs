//! Garbage collection: blobs that no manifest names any more are removed, and nothing that anybody was promised.
//!
//! Manifests are records on other people's servers, written after this hold said that it has their blobs. So a blob is first
//! **condemned**: it stays readable, and any promise lifts the condemnation ([`Standings`]). It goes when it was condemned for the
//! grace period and all accounts were read again, in readings that began longer after the condemnation than a push may take.
//!
//! - `accounts`: who may name blobs · `turn`: one run at a time · `claim`: whose the store is
//! - `reading`, `one_account`, `names`: the manifests of accounts → who names what · `reconciling`: layer records of manifests that are gone
//! - `planning`: the store's blobs against the names → a plan
//! - `removal`: a plan carried out · `links`: blobs deleted from one repository
//! - `uptime`: the time by which ages go · `ports`, `report`

mod accounts;
mod claim;
mod links;
mod names;
mod one_account;
mod planning;
pub mod ports;
mod reading;
mod reconciling;
mod removal;
mod report;
mod schedule;
mod turn;
mod uptime;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atcr_atproto::clock::Clock;
use atcr_atproto::syntax::Did;
use atcr_hold_pds::{HoldRepo, RepoError};
use atcr_oci::Digest;
use atcr_server::KeyedLocks;
use tokio_util::sync::CancellationToken;

use self::accounts::Noted;
pub use self::links::{UnlinkError, Unlinked};
pub(crate) use self::names::digests_in;
use self::ports::{AccountReader, Action, GcTable, Item, SaveMark, StoreOwner, StoredRun, Ticks};
pub use self::report::{AccountsRead, OwnerSum, Progress, Report, Run, RunState, Status, Sum};
use self::uptime::Uptime;
use crate::blobs::{BlobInventory, SessionsError, StandingTable, Standings, StoreError};

/// How the collection works.
#[derive(Clone, Debug)]
pub struct GcOptions {
    /// It runs every night.
    pub nightly: bool,
    /// The hour (UTC) after which it does.
    pub hour: u32,
    /// How long a blob is condemned before it goes, in uptime.
    pub grace: Duration,
    /// How long after a promise the manifest may be written, and five minutes.
    pub longest_push: Duration,
    /// Blobs removed in a second; 0 for as many as can be.
    pub removals_per_second: u32,
    /// The part of the store, in percent, of which the removal needs the captain's word.
    pub brake_percent: u8,
    /// How long one account may be read. What was read of its manifests by then is not read again.
    pub read_within: Duration,
    /// Manifests that one account may list.
    pub most_manifests: usize,
    /// What all manifests of one account may name, with those that are not proven gone.
    pub most_names: u64,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            nightly: false,
            hour: 3,
            grace: Duration::from_hours(7 * 24),
            longest_push: Duration::from_mins(24 * 60 + 5),
            removals_per_second: 100,
            brake_percent: 20,
            read_within: Duration::from_mins(30),
            most_manifests: 50_000,
            most_names: 2_000_000,
        }
    }
}

/// Why the collection did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// One run at a time.
    #[error("a run is under way")]
    Busy,
    /// The process ends.
    #[error("the hold is stopping; the first run after its next start goes on with this one")]
    Stopping,
    /// The run failed in a way that nothing foresaw.
    #[error("the run was interrupted; the next one goes on with it")]
    Interrupted,
    /// No such run, or it is not in a state for that.
    #[error("{0}")]
    NotNow(String),
    /// The tables failed.
    #[error("the tables of the garbage collection failed")]
    Table(#[from] SessionsError),
    /// The store failed.
    #[error("the object store failed")]
    Store(#[from] StoreError),
    /// The repository failed.
    #[error("the hold's repository failed")]
    Repo(#[from] RepoError),
}

/// What the collection works with.
#[derive(Debug)]
pub struct GcParts {
    /// Its tables.
    pub table: Arc<dyn GcTable>,
    /// The table of the standings.
    pub standing_table: Arc<dyn StandingTable>,
    /// The store.
    pub inventory: Arc<dyn BlobInventory>,
    /// Whose it is.
    pub owner: Arc<dyn StoreOwner>,
    /// The network's accounts.
    pub reader: Arc<dyn AccountReader>,
    /// The hold's records.
    pub repo: HoldRepo,
    /// The time, for reports.
    pub clock: Arc<dyn Clock>,
    /// The word beside the database.
    pub mark: Arc<dyn SaveMark>,
    /// The time that passes.
    pub ticks: Arc<dyn Ticks>,
    /// Which boot of the machine this is.
    pub boot: String,
}

/// The use cases of the collection. Clones share everything.
#[derive(Clone, Debug)]
pub struct Gc {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Arc<dyn GcTable>,
    standings: Standings,
    inventory: Arc<dyn BlobInventory>,
    owner: Arc<dyn StoreOwner>,
    reader: Arc<dyn AccountReader>,
    repo: HoldRepo,
    clock: Arc<dyn Clock>,
    uptime: Uptime,
    options: GcOptions,
    turn: Arc<tokio::sync::Mutex<()>>,
    progress: Mutex<Option<Progress>>,
    /// Accounts that a run is reading now.
    reading: Mutex<BTreeSet<Did>>,
    stop: CancellationToken,
    /// The uptime when the store said last that it is this hold's.
    claimed_at: AtomicU64,
    noted: Mutex<Noted>,
    /// One reading of an account at a time.
    readings: KeyedLocks<Did>,
}

impl Gc {
    /// The collection with what it knew before. It knows all members, and is told of new ones before they are.
    ///
    /// # Errors
    /// The tables', the repository's.
    pub async fn open(parts: GcParts, options: GcOptions) -> Result<Self, GcError> {
        let head = parts.repo.latest_commit().rev.to_string();
        let is_older_copy = parts.repo.is_older_copy();
        let is_first_time = parts.table.clock().await?.is_none();
        let table = parts.table.clone();
        let uptime = Uptime::open(table, parts.mark, parts.ticks, parts.boot, &head, is_older_copy).await?;
        let held_until = uptime.now() + parts.inventory.late_removal().as_secs();
        let standings = Standings::open(parts.standing_table, held_until).await?;
        standings.release_held(uptime.now()).await?;
        let gc = Self {
            inner: Arc::new(Inner {
                table: parts.table,
                standings,
                inventory: parts.inventory,
                owner: parts.owner,
                reader: parts.reader,
                repo: parts.repo,
                clock: parts.clock,
                uptime,
                options,
                turn: Arc::default(),
                progress: Mutex::default(),
                reading: Mutex::default(),
                stop: CancellationToken::new(),
                claimed_at: AtomicU64::new(claim::NEVER),
                noted: Mutex::default(),
                readings: KeyedLocks::default(),
            }),
        };
        gc.meet_newcomers(is_first_time).await?;
        Ok(gc)
    }

    /// Where each blob stands, for the blob service.
    #[must_use]
    pub fn standings(&self) -> Standings {
        self.inner.standings.clone()
    }

    /// Reads every account and lists the store: what would go, and why. Changes no blob and no record. A reading that was interrupted within
    /// the last day is continued.
    ///
    /// # Errors
    /// `Busy`; the tables', the store's, the repository's.
    pub async fn plan(&self) -> Result<Run, GcError> {
        self.alone(|inner| async move { Ok(public(inner.plan().await?)) })
            .await
    }

    /// Makes a plan and carries it out. A run that was interrupted is continued instead.
    ///
    /// # Errors
    /// As [`plan`](Self::plan). What was done stays done.
    pub async fn run(&self) -> Result<Run, GcError> {
        self.alone(|inner| async move {
            let interrupted = inner.table.runs(1).await?.into_iter().next();
            let run = match interrupted.filter(|run| run.state == RunState::Running) {
                Some(run) => run,
                None => inner.plan().await?,
            };
            Ok(public(inner.carry_out(run, false).await?))
        })
        .await
    }

    /// Carries out a plan that is not older than a day, all of it: the captain has seen how much it removes.
    ///
    /// # Errors
    /// `NotNow` for another run than the newest, one that is done, or an old one; as [`run`](Self::run).
    pub async fn confirm(&self, id: i64) -> Result<Run, GcError> {
        self.alone(move |inner| async move {
            let newest = inner.table.runs(1).await?.into_iter().next();
            let run = newest
                .filter(|run| run.id == id)
                .ok_or_else(|| GcError::NotNow(format!("{id} is not the newest run")))?;
            if !matches!(
                run.state,
                RunState::Planned | RunState::Waiting | RunState::Running
            ) {
                return Err(GcError::NotNow(format!("run {id} is {}", run.state.as_str())));
            }
            if inner.is_old(&run) {
                return Err(GcError::NotNow(format!(
                    "the plan of run {id} is older than a day; make another one"
                )));
            }
            Ok(public(inner.carry_out(run, true).await?))
        })
        .await
    }

    /// Lifts what a run condemned, as far as it is still there: the next run begins with it anew.
    ///
    /// # Errors
    /// `NotNow` for an unknown run; `Busy`; the tables'.
    pub async fn undo(&self, id: i64) -> Result<u64, GcError> {
        self.alone(move |inner| async move {
            let run = inner.table.find_run(id).await?;
            let run = run.ok_or_else(|| GcError::NotNow(format!("there is no run {id}")))?;
            let lifted = inner.standings.lift_run(id).await?;
            inner.table.save_run(id, RunState::Undone, &run.report).await?;
            tracing::info!(
                run = id,
                blobs = lifted.len(),
                "the condemnations of a run are lifted"
            );
            Ok(lifted.len() as u64)
        })
        .await
    }

    /// What it does now, and what the last run did.
    ///
    /// # Errors
    /// The tables'.
    pub async fn status(&self) -> Result<Status, GcError> {
        let all = self.inner.standings.all();
        let leaving = all
            .iter()
            .filter(|(_, standing)| matches!(standing, crate::blobs::Standing::Leaving(_)))
            .count();
        Ok(Status {
            under_way: self.inner.under_way(),
            nightly: self.inner.options.nightly,
            condemned: (all.len() - leaving) as u64,
            leaving: leaving as u64,
            last: self.inner.table.runs(1).await?.into_iter().next().map(public),
        })
    }

    /// The last runs, the newest first, at most 1,000.
    ///
    /// # Errors
    /// The tables'.
    pub async fn history(&self, limit: u32) -> Result<Vec<Run>, GcError> {
        let runs = self.inner.table.runs(limit.min(1000)).await?;
        Ok(runs.into_iter().map(public).collect())
    }

    /// Items of a run's plan in the order of their digests, from after `after`, at most 1,000.
    ///
    /// # Errors
    /// The tables'.
    pub async fn items(
        &self,
        run: i64,
        action: Option<Action>,
        after: Option<&Digest>,
        limit: u32,
    ) -> Result<Vec<Item>, GcError> {
        let items = self.inner.table.items(run, action, false, after, limit.min(1000));
        Ok(items.await?)
    }

    /// Saves the uptime, and gives back blobs whose failed removal is over. To be called every minute, and at the end.
    ///
    /// # Errors
    /// The tables'.
    pub async fn save(&self) -> Result<(), SessionsError> {
        self.inner.save_uptime().await?;
        self.inner.standings.release_held(self.inner.uptime.now()).await
    }
}

impl Inner {
    /// Times that are written down after this are at most so much ahead of what a killed process goes on from.
    async fn save_uptime(&self) -> Result<(), SessionsError> {
        let head = self.repo.latest_commit().rev.to_string();
        self.uptime.save(&head).await
    }

    /// A plan's readings count for a day.
    fn is_old(&self, run: &StoredRun) -> bool {
        const DAY: u64 = 24 * 60 * 60;
        self.uptime.now().saturating_sub(run.since) > DAY
    }
}

fn public(run: StoredRun) -> Run {
    Run {
        id: run.id,
        began_at: run.began_at,
        state: run.state,
        report: run.report,
    }
}
