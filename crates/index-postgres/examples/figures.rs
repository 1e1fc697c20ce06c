//! Figures of the index: fills a file or a database with a made-up network, then measures writes and the queries of pages.
//!
//! `cargo run --release -p atcr-index-postgres --example figures -- --divide 10 --file index.db` for SQLite; with
//! `--url postgres://…` for a PostgreSQL database, or with `--server` for one on a server of its own, gone afterwards.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::lexicon::tag as tag_record;
use atcr_atproto::syntax::{Did, Tid};
use atcr_index::Collection;
use atcr_index::change::{Batch, Change, Proof, RecordsStep, Step};
use atcr_index::fact::{Fact, RecordFact, TagFact};
use atcr_index::generator::{Network, Size, account_did};
use atcr_index::page::{PageRequest, Position, Start};
use atcr_index::search::{Query, ranked};
use atcr_index::view::{RepositoryCard, RepositoryId, TagFilter, TagOrder};
use atcr_index_postgres::{DatabaseUrl, PostgresIndex};
use atcr_index_sqlite::SqliteIndex;
use atcr_index_suite::Ports;
use atcr_test_support::postgres_server::PostgresServer;
use chrono::{DateTime, Utc};
use clap::Parser;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

#[derive(Parser)]
struct Options {
    /// The file; kept and used again when it is there.
    #[arg(long)]
    file: Option<PathBuf>,
    /// A PostgreSQL database; kept and used again when it has an index.
    #[arg(long)]
    url: Option<String>,
    /// A PostgreSQL server of its own with 256 MB of shared buffers, which does not wait for the disk.
    #[arg(long)]
    server: bool,
    /// The full network (100,000 repositories, 1,000,000 manifests, 2,000,000 tags) divided by this.
    #[arg(long, default_value_t = 1)]
    divide: usize,
    /// Queries of each kind.
    #[arg(long, default_value_t = 500)]
    queries: usize,
    /// Clients at once.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Tag moves that are written, each to another repository, in batches of 1,000.
    #[arg(long, default_value_t = 20_000)]
    moves: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let now = DateTime::from_timestamp(1_800_000_000, 0).context("the time")?;
    let server = options
        .server
        .then(|| PostgresServer::start_with_memory(256))
        .transpose()?;
    let url = server
        .as_ref()
        .map(|server| server.url("postgres"))
        .or_else(|| options.url.clone());
    let index: Arc<dyn Ports> = match (url, &options.file) {
        (Some(url), _) => Arc::new(PostgresIndex::open(&DatabaseUrl::parse(&url)?).await?),
        (None, Some(file)) => Arc::new(SqliteIndex::open(file).await?),
        (None, None) => anyhow::bail!("give --file, --url or --server"),
    };
    let is_new = index.stats().await?.accounts == 0;
    let size = Size::full_divided(options.divide.max(1));
    if is_new {
        fill(&index, size, now).await?;
    }
    say(&format!("{:?}", index.stats().await?));
    let cards = sample(&index, options.queries).await?;
    write_moves(&index, &cards, options.moves, now).await?;
    read(&index, &cards, &options, now).await
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn say(line: &str) {
    println!("{line}");
}

async fn fill(index: &Arc<dyn Ports>, size: Size, now: DateTime<Utc>) -> Result<()> {
    let begun = Instant::now();
    let mut records = 0;
    let mut written = Duration::ZERO;
    let mut said = Instant::now();
    for batch in Network::new(20_261_129, size).batches(now) {
        for step in &batch.steps {
            if let Step::Records(step) = step {
                records += step.changes.len();
            }
        }
        let before = Instant::now();
        index.apply(&batch, now).await?;
        written += before.elapsed();
        if said.elapsed() > Duration::from_secs(20) {
            say(&format!("  {records} records after {:.0?}", begun.elapsed()));
            said = Instant::now();
        }
    }
    say(&format!(
        "filled with {records} records: {:.1?} of writing, {:.0} records/s",
        written,
        rate(records, written)
    ));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

/// Repositories from all over the table.
async fn sample(index: &Arc<dyn Ports>, count: usize) -> Result<Vec<RepositoryCard>> {
    let mut rng = StdRng::seed_from_u64(1);
    let last = index.recently_pushed(&PageRequest::top(200)).await?;
    let most = last.items.iter().map(|card| card.id.0).max().unwrap_or(1);
    let mut cards = Vec::new();
    for _ in 0..count * 4 {
        let after = RepositoryId(rng.random_range(0..most.max(2)));
        cards.extend(index.all_repositories(after, 1).await?);
    }
    Ok(cards)
}

async fn write_moves(
    index: &Arc<dyn Ports>,
    cards: &[RepositoryCard],
    moves: usize,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut revs: std::collections::HashMap<Did, Tid> = std::collections::HashMap::new();
    let mut serial = u64::try_from(now.timestamp_micros())?;
    let mut batches = Vec::new();
    let mut batch = Batch::default();
    for number in 0..moves {
        let card = &cards[number % cards.len()];
        let Some(name) = &card.newest_tag else { continue };
        let did = card.owner.did.clone();
        let base = match revs.get(&did) {
            Some(rev) => Some(rev.clone()),
            None => index.account(&did).await?.and_then(|account| account.rev),
        };
        serial += 10;
        let rev = Tid::from_parts(serial, 1);
        revs.insert(did.clone(), rev.clone());
        let fact = TagFact {
            repository: card.name.clone(),
            tag: name.parse()?,
            digest: Some(format!("sha256:{number:064x}").parse()?),
            claimed_at: now + chrono::TimeDelta::microseconds(i64::try_from(number)?),
        };
        batch.steps.push(Step::Records(RecordsStep {
            did,
            base,
            base_data: None,
            rev,
            data: None,
            proof: Proof::Signed,
            coverage: None,
            changes: vec![Change::Put(RecordFact {
                collection: Collection::Tag,
                rkey: tag_record::rkey(&card.name, name)?,
                cid: cid_of(DAG_CBOR, &number.to_be_bytes()),
                fact: Fact::Tag(fact),
            })],
        }));
        if batch.steps.len() == 1_000 {
            batches.push(std::mem::take(&mut batch));
        }
    }
    let begun = Instant::now();
    let count: usize = batches.iter().map(|batch| batch.steps.len()).sum();
    let later = now + chrono::TimeDelta::hours(1);
    for batch in &batches {
        index.apply(batch, later).await?;
    }
    say(&format!(
        "moved {count} tags of scattered repositories in {:.1?}: {:.0} /s",
        begun.elapsed(),
        rate(count, begun.elapsed())
    ));
    Ok(())
}

/// Runs `query` for each number, `clients` at once, and says how long they took.
async fn measure<F, Q>(name: &str, options: &Options, query: Q) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
    Q: Fn(usize) -> F,
{
    let begun = Instant::now();
    let mut times = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    let mut number = 0;
    loop {
        while running.len() < options.clients && number < options.queries {
            let future = query(number);
            running.spawn(async move {
                let begun = Instant::now();
                future.await.map(|()| begun.elapsed())
            });
            number += 1;
        }
        match running.join_next().await {
            Some(time) => times.push(time??),
            None => break,
        }
    }
    let total = begun.elapsed();
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    say(&format!(
        "{name:<28} p50 {:>8.2?}  p95 {:>8.2?}  p99 {:>8.2?}  {:>7.0} /s",
        at(50),
        at(95),
        at(99),
        rate(times.len(), total)
    ));
    Ok(())
}

async fn read(
    index: &Arc<dyn Ports>,
    cards: &[RepositoryCard],
    options: &Options,
    now: DateTime<Utc>,
) -> Result<()> {
    let card = |number: usize| cards[number % cards.len()].clone();
    measure("home: pushed last", options, |_| {
        let index = Arc::clone(index);
        async move {
            index
                .recently_pushed(&PageRequest::top(24))
                .await
                .map(drop)
                .map_err(Into::into)
        }
    })
    .await?;
    measure("home: most starred", options, |_| {
        let index = Arc::clone(index);
        async move {
            index
                .most_starred(&PageRequest::top(8))
                .await
                .map(drop)
                .map_err(Into::into)
        }
    })
    .await?;
    measure("owner and its repositories", options, |number| {
        let (index, did) = (Arc::clone(index), card(number).owner.did);
        async move {
            index.account(&did).await?;
            index.repositories_of(&did, &PageRequest::top(24)).await?;
            Ok(())
        }
    })
    .await?;
    measure("repository page", options, |number| {
        let (index, card) = (Arc::clone(index), card(number));
        async move {
            index.repository(&card.owner.did, &card.name).await?;
            index.holds_of(card.id).await?;
            index
                .tags(card.id, &TagFilter::default(), &PageRequest::top(5))
                .await?;
            Ok(())
        }
    })
    .await?;
    measure("manifest page", options, |number| {
        let (index, card) = (Arc::clone(index), card(number));
        async move {
            let page = index.manifests(card.id, None, &PageRequest::top(1)).await?;
            if let Some(row) = page.items.first() {
                index.manifest(card.id, &row.summary.digest).await?;
            }
            Ok(())
        }
    })
    .await?;
    let largest = largest(index).await?;
    say(&format!("the largest repository has {} tags", largest.tags));
    for order in [TagOrder::Newest, TagOrder::Version] {
        let filter = TagFilter {
            order,
            ..TagFilter::default()
        };
        let positions = positions(index, largest.id, &filter).await?;
        measure(&format!("tags at any depth, {order:?}"), options, |number| {
            let (index, filter, id) = (Arc::clone(index), filter.clone(), largest.id);
            let start = positions[number % positions.len()].clone();
            async move {
                let page = index
                    .tags(id, &filter, &PageRequest::from(Start::After(start), 50))
                    .await?;
                anyhow::ensure!(!page.items.is_empty(), "a page");
                Ok(())
            }
        })
        .await?;
    }
    let filter = TagFilter {
        text: "99".to_owned(),
        ..TagFilter::default()
    };
    measure("tags with a text", options, |_| {
        let (index, filter, id) = (Arc::clone(index), filter.clone(), largest.id);
        async move {
            index
                .tags(id, &filter, &PageRequest::top(50))
                .await
                .map(drop)
                .map_err(Into::into)
        }
    })
    .await?;
    for (name, words) in [
        ("search: a rare word", vec!["zzz", "コンテナ", "quick-proxy-3"]),
        (
            "search: a frequent word",
            vec!["the", "service", "nginx", "re", "image builds"],
        ),
        (
            "search: a slip",
            vec!["ngnix", "postgers", "schedular", "databse"],
        ),
    ] {
        let options = Options {
            clients: options.clients.min(4),
            file: None,
            url: None,
            ..*options
        };
        measure(name, &options, |number| {
            let (index, query) = (Arc::clone(index), Query::parse(words[number % words.len()]));
            async move {
                let candidates = index.candidates(&query).await?;
                std::hint::black_box(ranked(&query, candidates, now));
                Ok(())
            }
        })
        .await?;
    }
    Ok(())
}

async fn largest(index: &Arc<dyn Ports>) -> Result<RepositoryCard> {
    let mut most: Option<RepositoryCard> = None;
    for number in 0..2_000 {
        let page = index
            .repositories_of(&account_did(number), &PageRequest::top(200))
            .await?;
        for card in page.items {
            if most.as_ref().is_none_or(|most| most.tags < card.tags) {
                most = Some(card);
            }
        }
    }
    most.context("a repository")
}

/// Places all over the list.
async fn positions(index: &Arc<dyn Ports>, id: RepositoryId, filter: &TagFilter) -> Result<Vec<Position>> {
    let mut positions = Vec::new();
    let mut start = Start::Top;
    loop {
        let page = index.tags(id, filter, &PageRequest::from(start, 200)).await?;
        match page.older {
            Some(position) => {
                positions.push(position.clone());
                start = Start::After(position);
            }
            None => return Ok(positions),
        }
    }
}
