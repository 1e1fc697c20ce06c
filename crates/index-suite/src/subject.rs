//! An index of its own for each test, and steps to write to it.

use std::future::Future;

use atcr_atproto::data_model::{DAG_CBOR, cid_of};
use atcr_atproto::lexicon::Record;
use atcr_atproto::lexicon::manifest::{BlobReference, ManifestRecord};
use atcr_atproto::lexicon::tag::TagRecord;
use atcr_atproto::lexicon::{manifest, tag};
use atcr_atproto::syntax::{Cid, Datetime, Did, RecordKey, Tid};
use atcr_index::Collection;
use atcr_index::change::{Applied, Batch, Change, Coverage, IdentityStep, Proof, RecordsStep, Step};
use atcr_index::fact::RecordFact;
use atcr_index::ports::{
    ConfigLog, DiscoveryLog, IndexAudit, IndexReader, IndexWriter, Leases, PullIndex, SearchIndex, WorkQueue,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

/// Every port of the index.
pub trait Ports:
    IndexReader
    + PullIndex
    + SearchIndex
    + IndexWriter
    + WorkQueue
    + DiscoveryLog
    + ConfigLog
    + Leases
    + IndexAudit
    + Send
    + Sync
{
}

impl<T> Ports for T where
    T: IndexReader
        + PullIndex
        + SearchIndex
        + IndexWriter
        + WorkQueue
        + DiscoveryLog
        + ConfigLog
        + ConfigLog
        + Leases
        + IndexAudit
        + Send
        + Sync
{
}

/// An index of its own for one test, made by an adapter. Dropped, it is gone.
pub trait Subject: Sized + Send + Sync {
    /// The adapter's index.
    type Index: Ports;

    /// An index without rows.
    fn new() -> impl Future<Output = Self> + Send;

    /// The index.
    fn index(&self) -> &Self::Index;

    /// Writes the steps at the hour of the tests.
    fn apply(&self, steps: Vec<Step>) -> impl Future<Output = Vec<Applied>> + Send {
        async {
            let batch = Batch {
                steps,
                ..Batch::default()
            };
            self.index().apply(&batch, now()).await.unwrap()
        }
    }

    /// All lines of the dump; the totals agree with their rows.
    fn dump(&self) -> impl Future<Output = Vec<String>> + Send {
        async {
            assert_eq!(self.index().recount().await.unwrap(), []);
            let mut lines = Vec::new();
            self.index().dump(&mut |line| lines.push(line)).await.unwrap();
            assert!(lines.is_sorted(), "the dump is sorted");
            lines
                .iter()
                .map(|line| serde_json::to_string(line).unwrap())
                .collect()
        }
    }
}

/// The hour at which tests happen.
#[must_use]
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// The revision with a number.
#[must_use]
pub fn rev(number: u64) -> Tid {
    Tid::from_parts(1_700_000_000_000_000 + number, 0)
}

/// An owner of images.
#[must_use]
pub fn alice() -> Did {
    "did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().unwrap()
}

/// Another account.
#[must_use]
pub fn bob() -> Did {
    "did:plc:bobbbbbbbbbbbbbbbbbbbbbb".parse().unwrap()
}

/// A hold.
#[must_use]
pub fn hold() -> Did {
    "did:web:hold.example".parse().unwrap()
}

/// `sha256:` and 64 times the digit.
#[must_use]
pub fn digest(digit: char) -> atcr_oci::Digest {
    format!("sha256:{}", digit.to_string().repeat(64))
        .parse()
        .unwrap()
}

/// An instant of the day before the tests, so many minutes on.
#[must_use]
pub fn at(minutes: i64) -> Datetime {
    Datetime::new(now() - TimeDelta::days(1) + TimeDelta::minutes(minutes))
}

/// The record as it would come from its account.
#[must_use]
pub fn put_value(owner: &Did, collection: Collection, rkey: &RecordKey, value: Value) -> Change {
    let cid = cid_of(DAG_CBOR, value.to_string().as_bytes());
    Change::Put(RecordFact::read(owner, collection, rkey.clone(), cid, value))
}

/// A record as its account would write it.
#[must_use]
pub fn put(owner: &Did, collection: Collection, rkey: &RecordKey, record: &impl Record) -> Change {
    put_value(owner, collection, rkey, record.to_value().unwrap())
}

/// The record is gone.
#[must_use]
pub fn delete(collection: Collection, rkey: &str) -> Change {
    Change::Delete {
        collection,
        rkey: rkey.parse().unwrap(),
    }
}

/// An image whose digest is 64 times the digit.
#[must_use]
pub fn image(repository: &str, digit: char) -> ManifestRecord {
    let mut record = ManifestRecord::new(
        repository,
        digest(digit).as_str(),
        "application/vnd.oci.image.manifest.v1+json",
        at(0),
    );
    record.config = Some(BlobReference::new(
        "application/vnd.oci.image.config.v1+json",
        digest('c').as_str(),
        100,
    ));
    record.layers = vec![BlobReference::new(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        digest('e').as_str(),
        1_000,
    )];
    record.hold_did = Some(hold());
    record
}

/// The record of a manifest under the key that follows from its digest.
#[must_use]
pub fn put_manifest(owner: &Did, record: &ManifestRecord) -> Change {
    put(
        owner,
        Collection::Manifest,
        &manifest::rkey(&record.digest).unwrap(),
        record,
    )
}

/// A tag that points at the digest of a digit, moved at a minute.
#[must_use]
pub fn put_tag(owner: &Did, repository: &str, name: &str, digit: char, minutes: i64) -> Change {
    let record = TagRecord::new(owner, repository, name, digest(digit).as_str(), at(minutes)).unwrap();
    put(
        owner,
        Collection::Tag,
        &tag::rkey(repository, name).unwrap(),
        &record,
    )
}

/// The root of an account's tree at a revision.
#[must_use]
pub fn tree(number: u64) -> Cid {
    cid_of(DAG_CBOR, &number.to_be_bytes())
}

/// From one revision to another; the first step of an account lists it whole.
#[must_use]
pub fn step(did: &Did, base: Option<u64>, to: u64, changes: Vec<Change>) -> Step {
    Step::Records(RecordsStep {
        did: did.clone(),
        base: base.map(rev),
        base_data: base.map(tree),
        rev: rev(to),
        data: Some(tree(to)),
        proof: Proof::Signed,
        coverage: base.is_none().then_some(Coverage::Whole),
        changes,
    })
}

/// The account has a handle.
#[must_use]
pub fn identity(did: &Did, handle: &str) -> Step {
    Step::Identity(IdentityStep {
        did: did.clone(),
        handle: handle.parse().ok(),
        pds: "https://pds.example".parse().ok(),
        signing_key: None,
    })
}
