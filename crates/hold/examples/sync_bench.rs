//! What followers and exports cost: `cargo run --release -p atcr-hold --example sync_bench [-- FOLDER]`.
//!
//! Fills a hold in FOLDER (or a temporary one), serves it, and measures it from a process of its own, so that memory is that of
//! the hold: replay to one follower, a thousand that keep up, the export of a million records.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use atcr_atproto::clock::{Clock, SystemClock};
use atcr_atproto::egress::{EgressClient, EgressPolicy};
use atcr_atproto::identity::{Resolver, ResolverConfig};
use atcr_hold::compose::{Hold, Surroundings};
use atcr_hold::config::HoldConfig;
use atcr_hold::settings::HoldSettings;
use atcr_hold_pds::{HoldRepo, RecordWrite};
use atcr_server::serve::serve_within;
use atcr_server::{HumanDuration, Problems, Shutdown};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

const EVENTS: usize = 100_000;
const FOLLOWERS: usize = 1000;
const COMMITS: usize = 300;
const RECORDS: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["replay", url, until] => replay(url, until.parse()?).await,
        ["follow", url, count] => follow(url, count.parse()?).await,
        ["export", url] => export(url).await,
        [folder] => measure(Some(folder)).await,
        _ => measure(None).await,
    }
}

async fn measure(folder: Option<&str>) -> Result<()> {
    let folder = match folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let shutdown = Shutdown::new();
    let (hold, url) = open(folder.path(), &shutdown).await?;
    let repo = hold.repo().clone();

    let start = Instant::now();
    for number in 0..EVENTS {
        repo.write(vec![layer(number)?]).await?;
    }
    report("commits, one after the other", EVENTS, start.elapsed());
    let before = resident()?;
    let head = *repo.watch_seq().borrow();
    let said = ask(&["replay", &url, &head.to_string()]).await?;
    println!(
        "replay to one follower: {said}; the hold grew by {:.1} MiB",
        mib(resident()? - before)
    );

    live(&repo, &url).await?;

    let start = Instant::now();
    let mut number = EVENTS;
    while number < RECORDS {
        let writes = (number..number + 200).map(layer).collect::<Result<_>>()?;
        repo.write(writes).await?;
        number += 200;
    }
    report("records, 200 a commit", RECORDS - EVENTS, start.elapsed());
    repo.write_snapshot().await?;
    for round in ["first", "second"] {
        let before = resident()?;
        let said = ask(&["export", &url]).await?;
        let grown = mib(resident()? - before);
        println!(
            "export of {RECORDS} records, {round}: {said}; the hold grew by {grown:.1} MiB, is {:.1}",
            mib(resident()?)
        );
    }
    shutdown.begin();
    shutdown.drain(Duration::from_secs(10)).await;
    hold.close(Duration::from_secs(10)).await;
    Ok(())
}

/// Commits without and with followers that keep up.
async fn live(repo: &HoldRepo, url: &str) -> Result<()> {
    let alone = commits(repo, 0).await?;
    let before = resident()?;
    let mut child = spawn(&["follow", url, &FOLLOWERS.to_string()])?;
    let mut lines = lines(&mut child)?;
    lines.next_line().await?.context("the followers ended")?;
    let connected = resident()?;
    let followed = commits(repo, 1).await?;
    let head = *repo.watch_seq().borrow();
    let grown = mib(resident()? - before);
    let mut stdin = child.stdin.take().context("a pipe")?;
    stdin.write_all(format!("{head}\n").as_bytes()).await?;
    let said = lines.next_line().await?.unwrap_or_default();
    child.wait().await?;
    println!(
        "{FOLLOWERS} followers: {said}; the hold grew by {:.1} MiB as they came and {grown:.1} MiB in all; a commit took \
         {alone:.2?} without them and {followed:.2?} with them (median)",
        mib(connected - before)
    );
    Ok(())
}

/// The median time of a commit.
async fn commits(repo: &HoldRepo, round: usize) -> Result<Duration> {
    let mut times = Vec::with_capacity(COMMITS);
    for number in 0..COMMITS {
        let start = Instant::now();
        repo.write(vec![layer(10_000_000 + round * COMMITS + number)?])
            .await?;
        times.push(start.elapsed());
        // Some 50 a second, as many as a relay takes.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort_unstable();
    times.get(COMMITS / 2).copied().context("commits")
}

/// From the oldest event to `until`.
async fn replay(url: &str, until: u64) -> Result<()> {
    let (mut socket, _) = connect_async(format!("{url}?cursor=0")).await?;
    let start = Instant::now();
    let (mut events, mut bytes) = (0_usize, 0_usize);
    while let Some(message) = socket.next().await {
        let Message::Binary(frame) = message? else {
            continue;
        };
        events += 1;
        bytes += frame.len();
        // The last ones are looked at, so that looking costs nothing.
        if events >= EVENTS && atcr_repo::firehose::Message::decode(&frame)?.seq() >= until {
            break;
        }
    }
    println!(
        "{} events/s, {} MB/s",
        rate(events, start),
        rate(bytes / 1_000_000, start)
    );
    Ok(())
}

/// Many followers at once, until each has the event that is named on the standard input.
async fn follow(url: &str, count: usize) -> Result<()> {
    let mut followers = Vec::with_capacity(count);
    let (tell, head) = tokio::sync::watch::channel(u64::MAX);
    for _ in 0..count {
        let (mut socket, _) = connect_async(url).await?;
        let mut head = head.clone();
        followers.push(tokio::spawn(async move {
            let mut seq = 0;
            let mut events = 0_usize;
            while seq < *head.borrow() {
                tokio::select! {
                    _ = head.changed() => {}
                    message = socket.next() => match message.context("the hold hung up")?? {
                        Message::Binary(frame) => {
                            seq = atcr_repo::firehose::Message::decode(&frame)?.seq();
                            events += 1;
                        }
                        Message::Close(frame) => bail!("closed: {frame:?}"),
                        _ => {}
                    },
                }
            }
            Ok(events)
        }));
    }
    println!("connected");
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    })
    .await??;
    tell.send_replace(line.trim().parse()?);
    let mut least = usize::MAX;
    for follower in followers {
        least = least.min(follower.await??);
    }
    println!("each got at least {least} of {COMMITS} events");
    Ok(())
}

async fn export(url: &str) -> Result<()> {
    let start = Instant::now();
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .get(url)
        .send()
        .await?;
    let bytes = answer
        .error_for_status()?
        .bytes_stream()
        .try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) })
        .await?;
    println!(
        "{} MB at {} MB/s",
        bytes / 1_000_000,
        rate(bytes / 1_000_000, start)
    );
    Ok(())
}

async fn open(folder: &Path, shutdown: &Shutdown) -> Result<(Hold, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut config = HoldConfig::default();
    config.server.addr = address.to_string();
    config.server.public_url = format!("http://{address}");
    config.server.test_mode = true;
    config.server.relay_endpoint = String::new();
    "did:web:captain.test".clone_into(&mut config.registration.owner_did);
    config.database.path = folder.join("data").display().to_string();
    config.limits.repo_export_timeout = HumanDuration::from_secs(3600);
    let mut problems = Problems::default();
    let settings = HoldSettings::parse(&config, &mut problems).context("the settings")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let egress = EgressClient::new(EgressPolicy::of_server(true))?;
    let resolver = ResolverConfig::new(settings.plc_directory.clone());
    let surroundings = Surroundings {
        ticks: Arc::new(atcr_hold::gc::ports::ProcessTicks::start()),
        clock: clock.clone(),
        resolver: Arc::new(Resolver::new(resolver, egress.clone(), clock)?),
        shutdown: shutdown.clone(),
        egress,
    };
    let hold = Hold::open(&settings, surroundings).await?;
    let limits = settings.limits.listener.clone();
    shutdown.spawn(serve_within(listener, hold.router(), limits, shutdown.clone()));
    let did = hold.repo().did().clone();
    Ok((hold, format!("{address}/{did}")))
}

/// A record as those of pushed layers, some 350 bytes long.
fn layer(number: usize) -> Result<RecordWrite> {
    // Keys of the whole width, as digests are.
    let key = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Ok(RecordWrite::Put {
        collection: "io.atcr.hold.layer".parse()?,
        rkey: format!("{key:016x}").parse()?,
        value: json!({
            "digest": format!("sha256:{number:064x}"), "size": 12_345, "mediaType": "application/octet-stream",
            "manifest": format!("at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/io.atcr.manifest/{number}"),
            "userDid": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "createdAt": "2026-05-01T12:00:00.000Z",
        }),
    })
}

fn spawn(arguments: &[&str]) -> Result<Child> {
    let (address, did) = arguments[1].split_once('/').context("an address")?;
    let url = match arguments[0] {
        "export" => format!("http://{address}/xrpc/com.atproto.sync.getRepo?did={did}"),
        _ => format!("ws://{address}/xrpc/com.atproto.sync.subscribeRepos"),
    };
    Ok(Command::new(std::env::current_exe()?)
        .arg(arguments[0])
        .arg(url)
        .args(&arguments[2..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?)
}

fn lines(child: &mut Child) -> Result<tokio::io::Lines<BufReader<tokio::process::ChildStdout>>> {
    Ok(BufReader::new(child.stdout.take().context("a pipe")?).lines())
}

/// What the child says.
async fn ask(arguments: &[&str]) -> Result<String> {
    let mut child = spawn(arguments)?;
    let said = lines(&mut child)?.next_line().await?;
    child.wait().await?;
    said.context("the child ended without a word")
}

/// Resident memory of this process in bytes; the peak does not tell, since filling the hold takes more.
fn resident() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("VmRSS")?;
    Ok(kib.parse::<i64>()? * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mib(bytes: i64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for people to read"
)]
fn rate(count: usize, start: Instant) -> usize {
    (count as f64 / start.elapsed().as_secs_f64()) as usize
}

fn report(what: &str, count: usize, time: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let rate = count as f64 / time.as_secs_f64();
    println!("{count} {what}: {rate:.0}/s");
}
