//! What a long queue of scans costs: `cargo run --release -p atcr-hold --example scan_queue [-- JOBS]`.
//!
//! Fills the table with JOBS jobs (100,000), opens it as a start does, and hands some of them out and takes their results.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use atcr_atproto::clock::{Clock as _, SystemClock};
use atcr_atproto::lexicon::scan::SeverityCounts;
use atcr_hold::adapters::sqlite::{self, SqliteScans};
use atcr_hold::scanning::{Room, Scan, ScanTable as _, Taker};
use atcr_scan_protocol::ScanState;
use chrono::TimeDelta;

/// Jobs that are handed out.
const HANDED_OUT: u64 = 1000;

const TAKER: Taker = Taker {
    holder: 1,
    since: None,
    is_idle: true,
    database: None,
};
const ROOM: Room = Room {
    of_owner: 1 << 32,
    in_all: 1 << 36,
};

const FILL: &str = "
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
    INSERT INTO scan_jobs (digest, owner, repository, state, priority, turn, queued_at, tries)
    SELECT printf('sha256:%064x', n), 'did:web:sailor' || n % 100 || '.test', 'app', 'ready', n % 3 * 10, n / 100, n, 0 FROM number";

#[tokio::main]
async fn main() -> Result<()> {
    let jobs: i64 = match std::env::args().nth(1) {
        Some(jobs) => jobs.parse().context("JOBS is a number")?,
        None => 100_000,
    };
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("hold.sqlite");
    let database = sqlite::open(&path).await?;
    sqlx::query(FILL).bind(jobs).execute(database.writer()).await?;
    database.close().await;

    let began = Instant::now();
    let database = sqlite::open(&path).await?;
    let table = SqliteScans::new(database.clone());
    let last = table.last_seq().await?;
    println!("{jobs} jobs, opened in {:?}, last number {last}", began.elapsed());

    let began = Instant::now();
    let figures = table.figures().await?;
    println!("figures in {:?}: {figures:?}", began.elapsed());

    let (mut handing, mut finishing) = (Vec::new(), Vec::new());
    for seq in 1..=HANDED_OUT {
        let now = SystemClock.now();
        let began = Instant::now();
        let (until, patience) = (now + TimeDelta::minutes(2), now - TimeDelta::minutes(5));
        let job = table.hand_out(seq, TAKER, now, until, patience).await?;
        handing.push(began.elapsed());
        let job = job.context("there are jobs")?;
        let scan = Scan {
            digest: job.digest,
            owner: job.owner,
            repository: job.repository,
            state: ScanState::Complete,
            counts: SeverityCounts::default(),
            scanner_version: "a scanner".to_owned(),
            database_built: None,
            tools: BTreeMap::new(),
            scanned_at: now,
            documents: BTreeMap::new(),
        };
        let began = Instant::now();
        table.finish(seq, &scan, true, ROOM).await?;
        finishing.push(began.elapsed());
    }
    report("handed out", handing);
    report("result taken", finishing);
    database.close().await;
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |per_cent: usize| {
        times
            .get(times.len() * per_cent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what}: median {:?}, 99 % {:?}, longest {:?}",
        at(50),
        at(99),
        times.last()
    );
}
