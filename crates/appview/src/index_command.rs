//! `atcr-appview index`: the index of the network, looked at and built again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::syntax::Did;
use atcr_index::IndexError;
use atcr_index::change::{Batch, Step};
use atcr_index::dump::DumpHash;
use atcr_ingest::catch_up::{CatchUpError, Outcome};
use atcr_server::{LoadOptions, Problems, load};
use clap::{Args, Subcommand};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};

use crate::compose;
use crate::config::AppViewConfig;
use crate::index::{NetworkIndex, NetworkIndexParts};
use crate::index_store;
use crate::settings::AppViewSettings;

/// Accounts of one page of the list of all.
const PAGE: u32 = 500;

/// Accounts at once.
const AT_ONCE: usize = 8;

/// How often the progress is said.
const PROGRESS: Duration = Duration::from_secs(5);

/// Work with the index of the network.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Read every known account again from its own server, remove what is gone, and find the accounts that are not known. Pages go on
    /// meanwhile
    Rebuild(IndexOptions),
    /// Count every total again, and say which do not agree with their rows
    Verify(IndexOptions),
    /// Say how much is indexed
    Stats(IndexOptions),
}

/// Where the index is.
#[derive(Debug, Args)]
pub struct IndexOptions {
    /// Configuration file; without one, defaults and the environment
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl IndexCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// Why it could not be done, or what does not agree.
    pub async fn run(self) -> anyhow::Result<()> {
        let (Self::Rebuild(options) | Self::Verify(options) | Self::Stats(options)) = &self;
        let config = load::<AppViewConfig>(&LoadOptions::from_process(options.config.clone()))?.config;
        let settings = AppViewSettings::parse(&config, &mut Problems::default())
            .context("the configuration changed while it was read")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let egress = EgressClient::new(EgressPolicy::of_server(settings.test_mode))?;
        let identities = compose::identity_resolver(&settings, &egress, &clock)?;
        let parts = NetworkIndexParts {
            network: &settings.network,
            default_hold: settings.default_hold.as_ref(),
            identities: &identities,
            egress: &egress,
            clock: &clock,
        };
        let store = index_store::open(&settings.paths.index, settings.index_database.as_ref()).await?;
        let index = NetworkIndex::new(store, parts)?;
        let outcome = match self {
            Self::Rebuild(_) => rebuild(&index, &clock).await,
            Self::Verify(_) => verify(&index).await,
            Self::Stats(_) => stats(&index).await,
        };
        index.store.close().await;
        outcome
    }
}

#[expect(clippy::print_stdout, reason = "what the command was asked for")]
fn say(line: &str) {
    println!("{line}");
}

/// Reads every known account again, finds those that are not known, and reads them too.
async fn rebuild(index: &NetworkIndex, clock: &Arc<dyn Clock>) -> anyhow::Result<()> {
    let total = index.store.stats().await?.accounts;
    let mut after: Option<Did> = None;
    let mut tally = Tally::new();
    loop {
        let dids = index.store.dids(after.as_ref(), PAGE).await?;
        let Some(last) = dids.last() else { break };
        after = Some(last.clone());
        let mut read = stream::iter(dids)
            .map(|did| async move {
                let distrust = Batch::of(Step::Distrust { did: did.clone() });
                index.store.apply(&distrust, clock.now()).await?;
                Ok::<_, IndexError>((index.catch_up.run(&did).await, did))
            })
            .buffer_unordered(AT_ONCE);
        while let Some(outcome) = read.next().await {
            let (outcome, did) = outcome?;
            tally.note(&did, outcome);
            tally.say_sometimes(&format!("of {total}"));
        }
    }
    let before = tally.done;
    if let Err(error) = index.discovery.run_all().await {
        tally.failed += 1;
        tracing::warn!(%error, "not every account of the network could be found");
    }
    let found = index.store.queued(u32::MAX).await?;
    say(&format!(
        "{before} known accounts were read; {found} more are due"
    ));
    let drains = (0..AT_ONCE).map(|_| index.scheduler.drain());
    let drained: u64 = join_all(drains)
        .await
        .into_iter()
        .collect::<Result<Vec<u64>, IndexError>>()?
        .into_iter()
        .sum();
    let left = index.store.queued(u32::MAX).await?;
    say(&format!(
        "{} accounts, {} records of known ones changed, {} not read, {left} stay due",
        before + drained,
        tally.changed,
        tally.failed
    ));
    anyhow::ensure!(
        tally.failed == 0 && left == 0,
        "{} accounts or lists could not be read, and {left} accounts stay due; they are cut until they are",
        tally.failed
    );
    Ok(())
}

/// What a rebuild has come to.
struct Tally {
    done: u64,
    changed: usize,
    failed: u64,
    said: Instant,
}

impl Tally {
    fn new() -> Self {
        Self {
            done: 0,
            changed: 0,
            failed: 0,
            said: Instant::now(),
        }
    }

    fn note(&mut self, did: &Did, outcome: Result<Outcome, CatchUpError>) {
        self.done += 1;
        match outcome {
            Ok(Outcome::Caught { changes, .. }) => self.changed += changes,
            Ok(Outcome::Current | Outcome::Hidden(_) | Outcome::WithoutRecords) => {}
            Ok(Outcome::WentBack | Outcome::Moving) => self.failed += 1,
            Err(error) => {
                self.failed += 1;
                tracing::warn!(%did, %error, "an account could not be read");
            }
        }
    }

    fn say_sometimes(&mut self, of: &str) {
        if self.said.elapsed() >= PROGRESS {
            say(&format!(
                "{} {of} accounts, {} records changed, {} not read",
                self.done, self.changed, self.failed
            ));
            self.said = Instant::now();
        }
    }
}

async fn verify(index: &NetworkIndex) -> anyhow::Result<()> {
    let mismatches = index.store.recount().await?;
    for mismatch in &mismatches {
        say(&format!(
            "{} {}: {} is {}, its rows give {}",
            mismatch.table, mismatch.id, mismatch.column, mismatch.stored, mismatch.counted
        ));
    }
    anyhow::ensure!(
        mismatches.is_empty(),
        "{} totals do not agree with their rows",
        mismatches.len()
    );
    let mut hash = DumpHash::default();
    index.store.dump(&mut |line| hash.add(&line)).await?;
    say(&format!(
        "every total agrees with its rows; the dump's SHA-256 is {}",
        hash.finish()
    ));
    Ok(())
}

async fn stats(index: &NetworkIndex) -> anyhow::Result<()> {
    let stats = index.store.stats().await?;
    for (what, count) in [
        ("accounts", stats.accounts),
        ("accounts listed whole", stats.whole_accounts),
        ("repositories", stats.repositories),
        ("manifests", stats.manifests),
        ("tags", stats.tags),
        ("stars", stats.stars),
        ("accounts in the queue", stats.queued),
    ] {
        say(&format!("{what}: {count}"));
    }
    Ok(())
}
