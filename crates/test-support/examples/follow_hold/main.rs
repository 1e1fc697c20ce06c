//! The network's own relay and tap, the reference implementation, and the tests' own follower follow a hold while its captain
//! writes: records of every kind a captain may write, one and many a commit, and images. Meanwhile the hold is stopped and killed, its key
//! changes, its repository is compacted and imported, and at the end restored from a backup that lacks commits.
//!
//! `cargo run --release -p atcr-test-support --example follow_hold -- --commits 1000000`
//!
//! It needs the optimised programs and the tools (`cargo xtask up --network` builds and installs them). It fails at the first event
//! that a follower cannot accept, and if anybody's records differ at the end.
#![expect(clippy::print_stdout, reason = "a command that shows what it found")]

mod captain;
#[expect(
    dead_code,
    reason = "shared with the tests of the hold's repository, which use the rest"
)]
#[path = "../../../hold-pds/tests/it/consumer.rs"]
mod consumer;
mod follower;
mod log;
mod official;
mod operations;
mod tap;
mod writers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use atcr_test_support::network::{FollowerPorts, HoldDid, Network, NetworkOptions, Part, Ports};
use atcr_test_support::tools::Workspace;
use clap::Parser;

use captain::Captain;
use follower::Follower;
use official::{OfficialReader, Repository};
use operations::Operation;
use tap::Tap;
use writers::Writers;

/// How long a follower may be at the same place before the run is given up.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often is looked whether the followers are there.
const LOOK: Duration = Duration::from_millis(50);
/// How long the hold keeps its events: the log is shortened in a run of some hours.
const RETENTION: Duration = Duration::from_mins(20);
/// How often something happens to the hold.
const HAPPENINGS: u64 = 32;

/// Follows a hold over many commits.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many commits the captain asks for; those that come at once may share one
    #[arg(long, default_value_t = 20_000)]
    commits: u64,
    /// How many write at once
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// What the writes follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends the commits when so many minutes have passed
    #[arg(long)]
    minutes: Option<u64>,
    /// The folder for state
    #[arg(long, default_value = ".atcr/follow")]
    folder: PathBuf,
}

/// Everybody who follows, and the hold.
struct World {
    network: Network,
    captain: Arc<Captain>,
    official: OfficialReader,
    followers: [Follower; 2],
    tap: Tap,
    started: Instant,
    /// From then on the repository lacks records that followers have seen.
    is_restored: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    follow(Arguments::parse()).await
}

#[cfg(test)]
#[tokio::test(flavor = "multi_thread")]
async fn relay_tap_and_reference_library_follow_two_thousand_commits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut arguments = Arguments::parse_from(["follow_hold", "--commits", "2000"]);
    arguments.folder = folder.path().join("follow");
    follow(arguments).await
}

async fn follow(arguments: Arguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let folder = workspace.root().join(&arguments.folder);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let backup = folder.join("backup");
    std::fs::create_dir_all(&backup)?;
    let mut world = World::start(&workspace, &folder, &backup).await?;
    let outcome = world.run(&arguments, &backup).await;
    if outcome.is_err() {
        world.show();
    }
    let World { network, .. } = world;
    let stopped = network.stop_all().await;
    outcome.and(stopped)
}

impl World {
    async fn start(workspace: &Workspace, folder: &Path, backup: &Path) -> Result<Self> {
        let mut options = NetworkOptions::new(folder.join("network"), Ports::free()?);
        options.hold_did = HoldDid::Plc;
        options.followers = Some(FollowerPorts::free()?);
        options.backup = Some(backup.to_owned());
        options.event_retention = Some(RETENTION);
        let network = Network::start(workspace, options, &mut |_, _| {}).await?;
        let file = network.file();
        let official = OfficialReader::new(workspace, file)?;
        let captain = Arc::new(Captain::sign_in(file, file.account("alice.test")?).await?);
        let at = file.followers.as_ref().context("the network has no followers")?;
        let followers = [
            Follower::start("at the hold", &file.hold.url, file, &official),
            Follower::start("at the relay", &at.relay.url, file, &official),
        ];
        let tap = Tap::start(&at.tap.url, &file.hold.did).await?;
        Ok(Self {
            network,
            captain,
            official,
            followers,
            tap,
            started: Instant::now(),
            is_restored: false,
        })
    }

    async fn run(&mut self, arguments: &Arguments, backup: &Path) -> Result<()> {
        self.wait_for_followers().await?;
        let resyncs_of_tap = self.resyncs_of_tap()?;
        self.say("everybody follows");

        let mut writers = Writers::start(&self.captain, arguments.writers, arguments.seed);
        let wrote = Instant::now();
        let mut happenings: BTreeMap<&str, usize> = BTreeMap::new();
        let deadline = arguments.minutes.map(|minutes| Duration::from_secs(minutes * 60));
        for (number, operation) in Operation::CYCLE.iter().cycle().enumerate() {
            let until = (number as u64 + 1) * (arguments.commits / HAPPENINGS).max(1);
            while writers.commits() < until {
                writers.check().await?;
                self.check().await?;
                tokio::time::sleep(LOOK).await;
            }
            operations::push(&self.network, number).await?;
            *happenings.entry(operation.name()).or_default() += 1;
            if operation.is_under_load() {
                operation.happen(&mut self.network, &self.captain).await?;
            }
            let pause = writers.pause().await;
            if !operation.is_under_load() {
                self.wait_for_followers().await?;
                operation.happen(&mut self.network, &self.captain).await?;
            }
            self.wait_for_followers().await?;
            drop(pause);
            let commits = writers.commits();
            self.say(&format!(
                "{commits} calls that write, {:.0}/s; {}",
                rate(commits, wrote),
                operation.name()
            ));
            let is_late = deadline.is_some_and(|deadline| wrote.elapsed() > deadline);
            if commits >= arguments.commits || is_late {
                break;
            }
        }
        let pause = writers.pause().await;
        writers.end();
        let (commits, operations, unsure) = (writers.commits(), writers.operations(), writers.unsure());
        let pace = rate(commits, wrote);
        self.wait_for_followers().await?;
        let repository = self.compare().await?;
        drop(pause);
        let known = writers.finish(&repository.records).await?;
        let made = self.followers[0].consumer().commits;
        println!(
            "\n{commits} calls with {operations} operations were acknowledged ({pace:.0}/s) in {made} commits, the outcome of {unsure} is not known"
        );
        println!("meanwhile: {happenings:?}");
        self.show();
        let resyncs = self.resyncs_of_tap()? - resyncs_of_tap;
        println!(
            "all {known} records that were acknowledged are there, and everybody has the same {}",
            repository.records.len()
        );
        let relay = self.complaints(Part::Relay)?;
        let tap = self.complaints(Part::Tap)?;
        ensure!(
            self.followers
                .iter()
                .all(|follower| follower.consumer().resyncs == 0)
                && resyncs == 0,
            "somebody had to read the repository again"
        );
        ensure!(
            relay.is_empty() && tap.is_empty(),
            "relay: {relay:?}; tap: {tap:?}"
        );
        println!("nothing was dropped, refused or read again\n");

        self.say("a large import");
        operations::import(&mut self.network, &self.captain, 3).await?;
        self.wait_for_followers().await?;
        self.require_resyncs(1, resyncs_of_tap).await?;

        self.say("commits that no backup has, and a restore");
        self.network.stop(Part::Hold).await?;
        self.network.set_backup(None)?;
        self.network.start_hold().await?;
        self.write_some(arguments, arguments.seed + 1000).await?;
        for follower in &self.followers {
            follower.consumer().may_break = true;
        }
        operations::restore(&mut self.network, backup).await?;
        self.is_restored = true;
        self.wait_for_followers().await?;
        self.require_resyncs(2, resyncs_of_tap).await?;
        self.write_some(arguments, arguments.seed + 2000).await?;
        self.require_resyncs(2, resyncs_of_tap).await?;
        println!(
            "exactly one read of the repository after the import, and one after the restore; then the chain went on"
        );
        self.show();
        Ok(())
    }

    /// Some commits after which all followers are at the same place.
    async fn write_some(&mut self, arguments: &Arguments, seed: u64) -> Result<()> {
        let mut writers = Writers::start(&self.captain, arguments.writers, seed);
        while writers.commits() < arguments.commits / HAPPENINGS {
            writers.check().await?;
            self.check().await?;
            tokio::time::sleep(LOOK).await;
        }
        writers.abandon().await?;
        self.wait_for_followers().await
    }

    async fn require_resyncs(&self, expected: usize, of_tap_before: usize) -> Result<()> {
        self.compare().await?;
        for follower in &self.followers {
            let resyncs = follower.consumer().resyncs;
            ensure!(resyncs == expected, "{}: {resyncs} resyncs", follower.name);
        }
        let resyncs = self.resyncs_of_tap()? - of_tap_before;
        ensure!(resyncs == expected, "tap: {resyncs} resyncs");
        Ok(())
    }

    async fn check(&mut self) -> Result<()> {
        for follower in &mut self.followers {
            follower.check().await?;
        }
        self.tap.check().await?;
        if let Some((part, log)) = self.network.ended() {
            bail!("the {} ended; {log}", part.name());
        }
        Ok(())
    }

    /// Waits until everybody has the hold's newest commit.
    async fn wait_for_followers(&mut self) -> Result<()> {
        let (mut places, mut since) = (Vec::new(), Instant::now());
        loop {
            self.check().await?;
            let newest = self.captain.newest_rev().await;
            let mut revs: Vec<Option<String>> = Vec::new();
            for follower in &self.followers {
                let consumer = follower.consumer();
                revs.push(consumer.head.as_ref().map(|(rev, _)| rev.to_string()));
            }
            revs.push(self.tap.rev().await?);
            if newest.is_some() && revs.iter().all(|rev| *rev == newest) {
                return Ok(());
            }
            if revs != places {
                (places, since) = (revs, Instant::now());
            } else if since.elapsed() > PATIENCE {
                bail!(
                    "the hold is at {newest:?}, the followers at the hold and at the relay and tap at {places:?}"
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Reads the repository with the reference implementation; everybody has to have the same.
    async fn compare(&self) -> Result<Repository> {
        let repository = self.official.read().await?;
        for follower in &self.followers {
            let consumer = follower.consumer();
            ensure!(
                consumer.head.as_ref().map(|(_, data)| *data) == Some(repository.data)
                    && consumer.records == repository.records,
                "{}: the records differ",
                follower.name
            );
        }
        // What tap has it may not have told yet.
        let since = Instant::now();
        let is_told = || {
            let told = self.tap.told();
            // Tap tells of no record that is missing when it reads a repository again.
            let more = told.records.len() > repository.records.len() && !self.is_restored;
            told.has(&repository.records) && !more
        };
        while !is_told() {
            ensure!(since.elapsed() < PATIENCE, "tap: the records differ");
            tokio::time::sleep(LOOK).await;
        }
        Ok(repository)
    }

    fn log(&self, part: Part) -> PathBuf {
        self.network
            .state()
            .join("logs")
            .join(format!("{}.log", part.key()))
    }

    fn complaints(&self, part: Part) -> Result<BTreeMap<String, usize>> {
        log::complaints(&self.log(part))
    }

    fn resyncs_of_tap(&self) -> Result<usize> {
        log::lines_with(&self.log(Part::Tap), "starting resync", self.captain.hold_did())
    }

    fn show(&self) {
        for follower in &self.followers {
            let consumer = follower.consumer();
            println!(
                "{:<13} {} commits, {} operations, {} resyncs, {} connections",
                follower.name,
                consumer.commits,
                follower.operations(),
                consumer.resyncs,
                follower.connections()
            );
        }
        println!("{:<13} {} operations", "tap told", self.tap.told().events);
        for part in [Part::Relay, Part::Tap] {
            if let Ok(complaints) = self.complaints(part) {
                println!("{:<13} {complaints:?}", format!("{} warned", part.name()));
            }
        }
    }

    fn say(&self, text: &str) {
        println!("{:>6} s  {text}", self.started.elapsed().as_secs());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(commits: u64, since: Instant) -> f64 {
    commits as f64 / since.elapsed().as_secs_f64()
}
