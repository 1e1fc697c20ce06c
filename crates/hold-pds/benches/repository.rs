//! The repository's figures: `cargo bench -p atcr-hold-pds --bench repository -- [records] [folder]`.
//!
//! With 1,000,000 records unless another number is given, in a temporary folder unless one is named. Each rate is printed beside
//! that of raw writes of 8 KiB, each synced, which are measured right before it. What an idle repository takes is measured in a process of
//! its own, which is this program with the argument `idle` and the folder.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]
#![expect(clippy::cast_precision_loss, reason = "for people to read")]

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use atcr_atproto::clock::SystemClock;
use atcr_atproto::crypto::{Curve, SigningKey};
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_hold_pds::{HoldRepo, RecordWrite, RepoOptions};
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const SERIAL: usize = 3000;
const GROUPED: usize = 51_200;
const CALLERS: usize = 256;
const UPDATES: usize = 100_000;
const SMALL: usize = 1000;
const MEDIUM: usize = 100_000;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    // Cargo adds an argument of its own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let records: usize = match arguments.next().as_deref() {
        Some("idle") => return idle(&arguments.next().ok_or("no folder")?).await,
        Some(number) => number.parse()?,
        None => 1_000_000,
    };
    let folder = match arguments.next() {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let options = options(folder.path().join("repo"))?;
    let clock = Arc::new(SystemClock);
    let mut repo = HoldRepo::open(options.clone(), clock.clone()).await?;

    let mut filled = 0;
    let mut cost = Vec::new();
    for size in [SMALL, MEDIUM, records] {
        fill(&repo, filled..size).await?;
        filled = size.max(filled);
        println!("\n{filled} records, {} MiB resident", resident()?);
        for random in [false, true] {
            let raw = raw_rate(folder.path())?;
            let before = processor_seconds()?;
            let rate = serial(&repo, random).await?;
            let micros = (processor_seconds()? - before) * 1e6 / SERIAL as f64;
            let keys = if random { "random" } else { "sequential" };
            println!(
                "  serial commits, {keys} keys: {rate:.0}/s; raw {raw:.0}/s; ratio {:.2}; processor {micros:.0} us each",
                rate / raw
            );
            cost.push(1.0 / rate);
        }
    }
    if let [small, small_random, .., large, large_random] = cost[..] {
        println!(
            "\ncost of a commit at {filled} records over {SMALL}: sequential {:.2}, random {:.2}",
            large / small,
            large_random / small_random
        );
    }
    let raw = raw_rate(folder.path())?;
    let rate = grouped(&repo).await?;
    println!("{CALLERS} callers, one record a call, random keys: {rate:.0} records/s; raw {raw:.0}/s");
    println!("resident after it: {} MiB, at most {} MiB", resident()?, peak()?);

    let start = Instant::now();
    let bytes = repo
        .export_car(None)
        .try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) })
        .await?;
    println!(
        "export: {:.0} MB/s of {} MB",
        per_second(bytes / 1_000_000, start),
        bytes / 1_000_000
    );

    repo.write_snapshot().await?;
    repo.close().await;
    let start = Instant::now();
    repo = HoldRepo::open(options.clone(), clock.clone()).await?;
    println!(
        "start with index: {:.2?}; resident {} MiB",
        start.elapsed(),
        resident()?
    );
    repo.close().await;
    let child = std::process::Command::new(std::env::current_exe()?)
        .arg("idle")
        .arg(&options.dir)
        .status()?;
    if !child.success() {
        return Err("the idle process failed".into());
    }
    HoldRepo::discard_index(&options.dir)?;
    let start = Instant::now();
    repo = HoldRepo::open(options.clone(), clock.clone()).await?;
    println!(
        "start that rebuilds index and table of {} records: {:.2?}",
        repo.indexed_records().await?,
        start.elapsed()
    );
    repo.close().await;
    updates(folder.path(), &options).await
}

/// Always the same key, for the process that opens the folder again.
fn options(dir: impl Into<std::path::PathBuf>) -> Result<RepoOptions, AnyError> {
    let key = SigningKey::from_bytes(Curve::K256, &[7; 32])?;
    Ok(RepoOptions::new(dir, "did:web:hold.example.com".parse()?, key))
}

/// Opens a repository that is there, and does nothing with it.
async fn idle(dir: &str) -> Result<(), AnyError> {
    let repo = HoldRepo::open(options(dir)?, Arc::new(SystemClock)).await?;
    let records = repo.indexed_records().await?;
    println!(
        "idle in a process of its own, {records} records: {} MiB resident, at most {} MiB",
        resident()?,
        peak()?
    );
    repo.close().await;
    Ok(())
}

/// The folder after many updates of the same records, one commit each.
async fn updates(folder: &Path, options: &RepoOptions) -> Result<(), AnyError> {
    let mut options = options.clone();
    options.dir = folder.join("updated");
    let options = options.with_retention(std::time::Duration::ZERO);
    let repo = HoldRepo::open(options.clone(), Arc::new(SystemClock)).await?;
    fill(&repo, 0..MEDIUM).await?;
    let live = export_len(&repo).await?;
    let start = Instant::now();
    for round in 0..UPDATES {
        let key = number_key(round.wrapping_mul(7919) % MEDIUM)?;
        repo.write(vec![RecordWrite::put(key, &layer(round)?)?]).await?;
    }
    let rate = per_second(UPDATES, start);
    repo.close().await;
    let (mut bytes, mut index) = (0, 0);
    for entry in std::fs::read_dir(&options.dir)? {
        let entry = entry?;
        let length = entry.metadata()?.len();
        bytes += length;
        if entry.file_name().as_encoded_bytes().starts_with(b"index") {
            index += length;
        }
    }
    println!(
        "{UPDATES} serial updates of {MEDIUM} records, no retention: {rate:.0}/s, folder {} MB, of which index {} MB, live {} MB",
        bytes / 1_000_000,
        index / 1_000_000,
        live / 1_000_000
    );
    Ok(())
}

async fn export_len(repo: &HoldRepo) -> Result<usize, AnyError> {
    let add = |sum, piece: bytes::Bytes| async move { Ok(sum + piece.len()) };
    Ok(repo.export_car(None).try_fold(0, add).await?)
}

/// What the disk allows: 8 KiB at the end of a file, each synced.
fn raw_rate(folder: &Path) -> Result<f64, AnyError> {
    let path = folder.join("probe");
    let file = std::fs::File::create(&path)?;
    let start = Instant::now();
    for number in 0..SERIAL as u64 {
        file.write_all_at(&[7; 8192], number * 8192)?;
        file.sync_data()?;
    }
    let rate = per_second(SERIAL, start);
    std::fs::remove_file(path)?;
    Ok(rate)
}

fn layer(number: usize) -> Result<LayerRecord, AnyError> {
    let user: Did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa".parse()?;
    let manifest = format!("at://{user}/io.atcr.manifest/{}", number / 10).parse()?;
    let now = "2026-05-01T12:00:00.000Z".parse()?;
    let digest = format!("sha256:{number:064x}");
    Ok(LayerRecord::new(
        digest,
        12_345,
        "application/octet-stream",
        manifest,
        user,
        now,
    ))
}

fn number_key(number: usize) -> Result<RecordKey, AnyError> {
    Ok(format!("n{number:09}").parse()?)
}

fn random_key() -> Result<RecordKey, AnyError> {
    Ok(format!("r{:032x}", rand::random::<u128>()).parse()?)
}

async fn fill(repo: &HoldRepo, range: std::ops::Range<usize>) -> Result<(), AnyError> {
    let numbers: Vec<usize> = range.collect();
    for calls in numbers.chunks(400) {
        let call = |numbers: &[usize]| {
            let write = |number: &usize| {
                Ok::<_, AnyError>(RecordWrite::create(Some(number_key(*number)?), &layer(*number)?)?)
            };
            let writes = numbers.iter().map(write).collect::<Result<Vec<_>, _>>();
            async move { Ok::<_, AnyError>(repo.write(writes?).await?) }
        };
        try_join_all(calls.chunks(200).map(call)).await?;
    }
    Ok(())
}

async fn serial(repo: &HoldRepo, random: bool) -> Result<f64, AnyError> {
    let start = Instant::now();
    for number in 0..SERIAL {
        let key = if random { Some(random_key()?) } else { None };
        repo.write(vec![RecordWrite::create(key, &layer(number)?)?])
            .await?;
    }
    Ok(per_second(SERIAL, start))
}

async fn grouped(repo: &HoldRepo) -> Result<f64, AnyError> {
    let start = Instant::now();
    let caller = |caller: usize| async move {
        for number in 0..GROUPED / CALLERS {
            let write = RecordWrite::create(Some(random_key()?), &layer(caller * 1000 + number)?)?;
            repo.write(vec![write]).await?;
        }
        Ok::<_, AnyError>(())
    };
    try_join_all((0..CALLERS).map(caller)).await?;
    Ok(per_second(GROUPED, start))
}

fn per_second(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}

/// What this process has used so far.
fn processor_seconds() -> Result<f64, AnyError> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no such fields")?;
    // In hundredths, as Linux counts for programs.
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

fn resident() -> Result<u64, AnyError> {
    of_status("VmRSS:")
}

fn peak() -> Result<u64, AnyError> {
    of_status("VmHWM:")
}

/// In MiB.
fn of_status(name: &str) -> Result<u64, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix("kB"))
        .ok_or("no such line")?
        .trim()
        .parse()?;
    Ok(kib / 1024)
}
