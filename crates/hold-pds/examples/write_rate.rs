//! How fast a repository takes writes: `cargo run --release -p atcr-hold-pds --example write_rate [folder]`.
//!
//! In the given folder, or in a temporary one on the same disk as the system's others. Prints writes per second of one
//! caller, of many at once, and of full commits; then of the tree alone.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::syntax::{Cid, Did};
use atcr_hold_pds::{HoldRepo, RecordWrite, RepoOptions};
use atcr_repo::DataError;
use atcr_repo::mst::diff::diff;
use atcr_repo::mst::{Node, NodeSource, Tree};
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let folder = match std::env::args().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    sync_rate(folder.path())?;
    let did: Did = "did:web:hold.example.com".parse()?;
    let options = RepoOptions::new(folder.path().join("repo"), did, SigningKey::generate(Curve::K256));
    let repo = HoldRepo::open(options.clone(), Arc::new(SystemClock)).await?;

    run(&repo, "one caller, one record a call", 1, 1, 1000).await?;
    run(&repo, "64 callers, one record a call", 64, 1, 20_000).await?;
    run(&repo, "4 callers, 10 records a call", 4, 10, 20_000).await?;
    run(&repo, "2 callers, 200 records a call", 2, 200, 60_000).await?;
    run(&repo, "one caller, one record a call, again", 1, 1, 1000).await?;

    let start = Instant::now();
    let bytes = repo
        .export_car(None)
        .try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) })
        .await?;
    report("export", bytes / 1_000_000, "MB", start);
    let start = Instant::now();
    repo.verify().await?;
    report("verify", 101_000, "records", start);
    repo.close().await;
    let start = Instant::now();
    let repo = HoldRepo::open(options.clone(), Arc::new(SystemClock)).await?;
    report("open", 1, "repository", start);
    repo.close().await;
    std::fs::remove_file(options.dir.join("index.sqlite"))?;
    let start = Instant::now();
    HoldRepo::open(options, Arc::new(SystemClock)).await?;
    report("open without index", 101_000, "records", start);
    tree_rate()
}

/// What the disk allows: appends of 4 KiB, each synced.
fn sync_rate(folder: &Path) -> Result<(), AnyError> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(folder.join("probe"))?;
    let start = Instant::now();
    for _ in 0..500 {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
    }
    report("appends of 4 KiB with a sync each", 500, "syncs", start);
    Ok(())
}

async fn run(
    repo: &HoldRepo,
    name: &str,
    callers: usize,
    per_call: usize,
    records: usize,
) -> Result<(), AnyError> {
    let before = *repo.watch_seq().borrow();
    let start = Instant::now();
    let caller = |caller: usize| async move {
        for call in 0..records / callers / per_call {
            let layer = |number: usize| {
                let digest = format!("sha256:{:064x}", caller * 1_000_000_007 + call * 1009 + number);
                let user: Did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse()?;
                let manifest = format!("at://{user}/io.atcr.manifest/{call}").parse()?;
                let now = "2026-05-01T12:00:00.000Z".parse()?;
                let layer = LayerRecord::new(digest, 12_345, "application/octet-stream", manifest, user, now);
                Ok::<_, AnyError>(RecordWrite::create(None, &layer)?)
            };
            repo.write((0..per_call).map(layer).collect::<Result<_, _>>()?)
                .await?;
        }
        Ok::<_, AnyError>(())
    };
    try_join_all((0..callers).map(caller)).await?;
    report(name, records, "records", start);
    println!("{:>42} {} commits", "in", *repo.watch_seq().borrow() - before);
    Ok(())
}

#[derive(Default)]
struct Memory(HashMap<Cid, Arc<Node>>);

impl NodeSource for Memory {
    type Error = DataError;

    fn node(&self, cid: &Cid) -> Result<Arc<Node>, DataError> {
        self.0.get(cid).cloned().ok_or(DataError::Missing(*cid))
    }
}

fn tree_rate() -> Result<(), AnyError> {
    let mut memory = Memory::default();
    let mut tree = Tree::empty();
    let start = Instant::now();
    for number in 0..100_000_u32 {
        let value = cid_of(DAG_CBOR, &number.to_be_bytes());
        let edited = tree.put(&memory, &format!("io.atcr.hold.layer/{value}"), value)?;
        let finished = edited.finish()?;
        memory
            .0
            .extend(finished.nodes.into_iter().map(|fresh| (fresh.cid, fresh.node)));
        let edited = Tree::open(&memory, finished.root)?;
        for gone in diff(&memory, &tree, &edited)?.removed {
            memory.0.remove(&gone);
        }
        tree = edited;
    }
    report("tree in memory, each edit hashed", 100_000, "edits", start);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn report(name: &str, count: usize, what: &str, start: Instant) {
    let elapsed = start.elapsed();
    println!(
        "{name:>42} {:.0} {what}/s ({elapsed:.2?})",
        count as f64 / elapsed.as_secs_f64()
    );
}
