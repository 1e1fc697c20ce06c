//! `atcr-appview index`: the index of the network, looked at and built again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::syntax::Did;
use atcr_index::change::{Batch, Step};
use atcr_index::dump::DumpHash;
use atcr_index::ports::{IndexAudit as _, IndexWriter as _};
use atcr_ingest::catch_up::Outcome;
use atcr_server::{LoadOptions, Problems, load};
use clap::{Args, Subcommand};

use crate::compose;
use crate::config::AppViewConfig;
use crate::index::NetworkIndex;
use crate::settings::AppViewSettings;

/// Accounts of one page of the list of all.
const PAGE: u32 = 500;

/// How often the progress is said.
const PROGRESS: Duration = Duration::from_secs(5);

/// Work with the index of the network.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Read every known account again from its own server, and remove what is gone. Pages go on meanwhile
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
        let index = NetworkIndex::open(&settings.paths.index, &[], &identities, &egress, &clock).await?;
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

async fn rebuild(index: &NetworkIndex, clock: &Arc<dyn Clock>) -> anyhow::Result<()> {
    let total = index.store.stats().await?.accounts;
    let mut after: Option<Did> = None;
    let (mut done, mut changed, mut failed) = (0_u64, 0_usize, 0_u64);
    let mut said = Instant::now();
    loop {
        let dids = index.store.dids(after.as_ref(), PAGE).await?;
        let Some(last) = dids.last() else { break };
        after = Some(last.clone());
        for did in dids {
            let distrust = Batch::of(Step::Distrust { did: did.clone() });
            index.store.apply(&distrust, clock.now()).await?;
            match index.catch_up.run(&did).await {
                Ok(Outcome::Caught { changes, .. }) => changed += changes,
                Ok(Outcome::Current | Outcome::Hidden(_)) => {}
                Ok(Outcome::WentBack | Outcome::Moving) => failed += 1,
                Err(error) => {
                    failed += 1;
                    tracing::warn!(%did, %error, "an account could not be read");
                }
            }
            done += 1;
            if said.elapsed() >= PROGRESS {
                say(&format!(
                    "{done} of {total} accounts, {changed} records changed, {failed} not read"
                ));
                said = Instant::now();
            }
        }
    }
    say(&format!(
        "{done} accounts, {changed} records changed, {failed} not read"
    ));
    anyhow::ensure!(
        failed == 0,
        "{failed} accounts could not be read; they are cut until they are"
    );
    Ok(())
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
