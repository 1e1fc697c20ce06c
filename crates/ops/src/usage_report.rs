//! What each account keeps at a hold: by the hold's own layer records, or by the manifests of the accounts themselves.
//!
//! A layer counts once for each account, however many manifests have it. Configurations and manifests are not counted, because holds have
//! no records of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::bail;
use atcr_atproto::lexicon::captain::CaptainRecord;
use atcr_atproto::lexicon::crew::CrewRecord;
use atcr_atproto::lexicon::layer::LayerRecord;
use atcr_atproto::lexicon::manifest::ManifestRecord;
use atcr_atproto::lexicon::{Record, nsid};
use atcr_atproto::pds::RecordEntry;
use atcr_atproto::syntax::Did;
use clap::Args;
use futures_util::{StreamExt as _, stream};
use indicatif::HumanBytes;
use serde::Serialize;

use crate::network::{Hold, Network, NetworkArguments};
use crate::output::{Output, table};

/// Examples for the help.
pub const EXAMPLES: &str = "Examples:
  atcr usage-report --hold https://hold.example.com
  atcr usage-report --hold did:web:hold.example.com --from-manifests --json";

/// Accounts that are read at once.
const AT_ONCE: usize = 8;

/// Memory for the names of accounts, layers and manifests, in bytes, of all accounts together: ten million of the usual length.
const MOST_BYTES: usize = 2 * 1024 * 1024 * 1024;

/// What a name costs besides its own bytes.
const NAME_BYTES: usize = 128;

/// What is reported.
#[derive(Debug, Args)]
pub struct UsageReport {
    /// The hold: its URL or its DID
    #[arg(long, value_name = "HOLD")]
    hold: String,
    /// Count by the manifests in the accounts' own repositories, rather than by the hold's layer records. It finds what an older hold did
    /// not record, of the accounts in its crew or in its records
    #[arg(long)]
    from_manifests: bool,
    /// Answer with one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArguments,
}

/// What an account keeps.
#[derive(Debug, Default)]
struct Usage {
    layers: HashMap<String, u64>,
    manifests: BTreeSet<String>,
}

/// The line of one account.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    did: Did,
    handle: Option<String>,
    manifests: usize,
    layers: usize,
    bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    hold: Did,
    url: String,
    /// `layers` or `manifests`.
    counted_by: &'static str,
    accounts: Vec<Line>,
    /// Different layers of all accounts together, and their bytes: what the store has to keep.
    distinct_layers: usize,
    distinct_bytes: u64,
    /// Accounts that could not be read.
    not_read: Vec<Did>,
    /// Records that could not be understood.
    unreadable: u64,
}

/// The memory that all names of a report share, also those of accounts that are read at the same time.
struct Room {
    left: AtomicUsize,
}

impl Room {
    fn new(bytes: usize) -> Self {
        Self {
            left: AtomicUsize::new(bytes),
        }
    }

    /// Takes the memory of `name`. What does not fit takes all of it: the report is not whole then.
    fn take(&self, name: &str) {
        let cost = NAME_BYTES.saturating_add(name.len());
        let rest = |left: usize| Some(left.saturating_sub(cost));
        // The closure never refuses.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
    }

    fn is_used_up(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

/// What is counted.
struct Counted<'r> {
    room: &'r Room,
    accounts: BTreeMap<Did, Usage>,
    unreadable: u64,
    not_read: Vec<Did>,
}

impl<'r> Counted<'r> {
    fn new(room: &'r Room) -> Self {
        Self {
            room,
            accounts: BTreeMap::new(),
            unreadable: 0,
            not_read: Vec::new(),
        }
    }

    fn add(&mut self, owner: &Did, manifest: &str, digest: &str, size: u64) {
        if !self.accounts.contains_key(owner) {
            self.room.take(owner.as_str());
        }
        let usage = self.accounts.entry(owner.clone()).or_default();
        if usage.manifests.insert(manifest.to_owned()) {
            self.room.take(manifest);
        }
        if usage.layers.insert(digest.to_owned(), size).is_none() {
            self.room.take(digest);
        }
    }

    fn has_room(&self) -> bool {
        !self.room.is_used_up()
    }
}

impl UsageReport {
    /// Reads and counts.
    ///
    /// # Errors
    /// The hold cannot be read; or an account could not be, after the report about the others.
    pub async fn run(self) -> anyhow::Result<()> {
        let output = Output::new(self.json);
        let network = Network::new(&self.network)?;
        let hold = network.hold(&self.hold).await?;
        // The layers are let go of before manifests are read.
        let [room, again] = [MOST_BYTES; 2].map(Room::new);
        let mut counted = by_layers(&network, &hold, &room, &output).await?;
        if self.from_manifests && counted.has_room() {
            let mut accounts: BTreeSet<Did> = counted.accounts.into_keys().collect();
            for did in &accounts {
                again.take(did.as_str());
            }
            members(&network, &hold, &again, &mut accounts).await?;
            counted = by_manifests(&network, &hold, accounts, &again, &output).await;
        }
        if !counted.has_room() {
            bail!(
                "there are more accounts, manifests and layers than fit into 2 GiB; the report would not be whole"
            );
        }
        let report = self.report(&network, &hold, counted, &output).await;
        output.done();
        output.json(&report);
        output.line(text(&report));
        if report.not_read.is_empty() {
            return Ok(());
        }
        bail!("{} accounts could not be read", report.not_read.len())
    }

    async fn report(&self, network: &Network, hold: &Hold, counted: Counted<'_>, output: &Output) -> Report {
        let mut distinct: HashMap<&str, u64> = HashMap::new();
        for (digest, size) in counted.accounts.values().flat_map(|usage| &usage.layers) {
            distinct.insert(digest, *size);
        }
        let (distinct_layers, distinct_bytes) = (distinct.len(), total(distinct.values()));
        output.progress("looking up handles");
        let lines = stream::iter(&counted.accounts)
            .map(|(did, usage)| async move {
                let name = network.name(did).await;
                Line {
                    did: did.clone(),
                    handle: Some(name).filter(|name| name != did.as_str()),
                    manifests: usage.manifests.len(),
                    layers: usage.layers.len(),
                    bytes: total(usage.layers.values()),
                }
            })
            .buffer_unordered(AT_ONCE);
        let mut accounts: Vec<Line> = lines.collect().await;
        accounts.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.did.cmp(&b.did)));
        Report {
            hold: hold.did.clone(),
            url: hold.url.to_string(),
            counted_by: if self.from_manifests {
                "manifests"
            } else {
                "layers"
            },
            accounts,
            distinct_layers,
            distinct_bytes,
            not_read: counted.not_read,
            unreadable: counted.unreadable,
        }
    }
}

fn total<'s>(sizes: impl Iterator<Item = &'s u64>) -> u64 {
    sizes.fold(0, |sum, size| sum.saturating_add(*size))
}

fn text(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .accounts
        .iter()
        .map(|line| {
            vec![
                line.handle.clone().unwrap_or_else(|| line.did.to_string()),
                line.manifests.to_string(),
                line.layers.to_string(),
                HumanBytes(line.bytes).to_string(),
                line.bytes.to_string(),
            ]
        })
        .collect();
    let text = table(
        &["account", "manifests", "layers", "size", "bytes"],
        &rows,
        &[1, 2, 3, 4],
    );
    let mut lines = vec![
        text,
        String::new(),
        format!(
            "{}: {} accounts, {} different layers, {} in the store",
            report.hold,
            report.accounts.len(),
            report.distinct_layers,
            HumanBytes(report.distinct_bytes),
        ),
    ];
    if report.unreadable > 0 {
        lines.push(format!(
            "{} records could not be understood and are not counted",
            report.unreadable
        ));
    }
    lines.extend(report.not_read.iter().map(|did| format!("not read: {did}")));
    lines.join("\n")
}

/// By the hold's own records.
async fn by_layers<'r>(
    network: &Network,
    hold: &Hold,
    room: &'r Room,
    output: &Output,
) -> anyhow::Result<Counted<'r>> {
    let mut counted = Counted::new(room);
    let mut records: u64 = 0;
    let mut each = |record: RecordEntry| {
        records += 1;
        if records.is_multiple_of(1_000) {
            output.progress(format!("{records} layer records"));
        }
        match LayerRecord::from_value(record.value.clone()) {
            Ok(layer) => {
                counted.add(
                    &layer.user_did,
                    layer.manifest.as_ref(),
                    &layer.digest,
                    layer.size,
                );
            }
            Err(_) => counted.unreadable += 1,
        }
        counted.has_room()
    };
    network
        .records(&hold.did, &hold.url, false, nsid::HOLD_LAYER, &mut each)
        .await?;
    Ok(counted)
}

/// Adds the captain and the crew to `members`.
async fn members(
    network: &Network,
    hold: &Hold,
    room: &Room,
    members: &mut BTreeSet<Did>,
) -> anyhow::Result<()> {
    for collection in [nsid::HOLD_CAPTAIN, nsid::HOLD_CREW] {
        let mut each = |record: RecordEntry| {
            let value = record.value.clone();
            let member = if collection == nsid::HOLD_CREW {
                CrewRecord::from_value(value).map(|crew| crew.member)
            } else {
                CaptainRecord::from_value(value).map(|captain| captain.owner)
            };
            if let Ok(member) = member
                && !members.contains(&member)
            {
                room.take(member.as_str());
                members.insert(member);
            }
            !room.is_used_up()
        };
        network
            .records(&hold.did, &hold.url, false, collection, &mut each)
            .await?;
    }
    Ok(())
}

/// By the manifests of `accounts` that name the hold.
async fn by_manifests<'r>(
    network: &Network,
    hold: &Hold,
    accounts: BTreeSet<Did>,
    room: &'r Room,
    output: &Output,
) -> Counted<'r> {
    let total = accounts.len();
    let mut reading = stream::iter(accounts)
        .map(|did| async move { (manifests_of(network, hold, &did, room).await, did) })
        .buffer_unordered(AT_ONCE);
    let mut counted = Counted::new(room);
    let mut done = 0;
    while let Some((read, did)) = reading.next().await {
        done += 1;
        output.progress(format!("{done} of {total} accounts"));
        match read {
            Ok(of_account) => {
                counted.unreadable += of_account.unreadable;
                counted.accounts.extend(of_account.accounts);
            }
            Err(error) => {
                output.warn(format!("{did}: {error:#}"));
                counted.not_read.push(did);
            }
        }
        if !counted.has_room() {
            break;
        }
    }
    counted
}

async fn manifests_of<'r>(
    network: &Network,
    hold: &Hold,
    did: &Did,
    room: &'r Room,
) -> anyhow::Result<Counted<'r>> {
    let server = network.server(did).await?;
    let mut counted = Counted::new(room);
    let mut each = |record: RecordEntry| {
        match ManifestRecord::from_value(record.value.clone()) {
            Ok(manifest) if manifest.hold().as_ref() == Some(&hold.did) => {
                let uri = record.uri.to_string();
                for layer in &manifest.layers {
                    counted.add(did, &uri, &layer.digest, layer.size);
                }
            }
            Ok(_) => {}
            Err(_) => counted.unreadable += 1,
        }
        counted.has_room()
    };
    network
        .records(did, &server, true, nsid::MANIFEST, &mut each)
        .await?;
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_are_read_at_once_share_one_bound() {
        let did = |name: &str| -> Did { format!("did:web:{name}.example").parse().unwrap() };
        // An account, a manifest and a layer of each of two accounts, and a few bytes more.
        let room = Room::new(6 * (NAME_BYTES + 24));
        let (mut first, mut second) = (Counted::new(&room), Counted::new(&room));
        for _ in 0..10 {
            first.add(&did("alice"), "manifest", "layer", 1);
        }
        second.add(&did("bob"), "manifest", "layer", 1);
        assert!(first.has_room() && second.has_room());
        second.add(&did("bob"), "manifest", "another", 1);
        assert!(!first.has_room() && !second.has_room());
    }
}
