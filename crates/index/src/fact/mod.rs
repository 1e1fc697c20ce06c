//! What one record says, as far as the index keeps it: checked, within bounds, without what depends on other records.
//!
//! Records come from strangers. One that cannot be used is a [`Fact::Unusable`], which the index remembers by its CID, so that it is not
//! fetched again.

mod config;
mod hold;
mod manifest;
mod sailor;
mod text;

pub use config::{ConfigFact, DESCRIPTION, LICENCES, TITLE};
pub use hold::{CaptainFact, CrewFact, ScanFact, Severities, StatsFact};
pub use manifest::{ChildFact, Kind, ManifestFact, PlatformFact};
pub use sailor::{PageFact, ProfileFact, StarFact, TagFact};
pub use text::{MAX_REPOSITORY_LEN, is_repository, one_line};

use atcr_atproto::syntax::{Cid, Did, RecordKey};
use serde_json::Value;

use crate::collection::Collection;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A manifest.
    Manifest(Box<ManifestFact>),
    /// A tag.
    Tag(TagFact),
    /// What the owner says of a repository.
    Page(PageFact),
    /// An account's settings.
    Profile(ProfileFact),
    /// A star.
    Star(StarFact),
    /// A hold's owner and rules.
    Captain(CaptainFact),
    /// A hold's member.
    Crew(CrewFact),
    /// Pulls and pushes of a repository at a hold.
    Stats(StatsFact),
    /// The result of a scan.
    Scan(ScanFact),
    /// Nothing: the record is malformed, or under a key that it may not have.
    Unusable,
}

/// One record: where it is, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFact {
    /// Its collection.
    pub collection: Collection,
    /// Its key.
    pub rkey: RecordKey,
    /// The CID of its value.
    pub cid: Cid,
    /// What it says.
    pub fact: Fact,
}

impl RecordFact {
    /// Reads the record of `owner`'s repository. `value` is not compared with `cid`: the caller has the proof.
    #[must_use]
    pub fn read(owner: &Did, collection: Collection, rkey: RecordKey, cid: Cid, value: Value) -> Self {
        let fact = Fact::read(owner, collection, &rkey, value);
        Self {
            collection,
            rkey,
            cid,
            fact,
        }
    }
}

impl Fact {
    /// Reads a record's value.
    #[must_use]
    pub fn read(owner: &Did, collection: Collection, rkey: &RecordKey, value: Value) -> Self {
        let fact = match collection {
            Collection::Manifest => read(value)
                .and_then(|record| ManifestFact::of(&record))
                .map(Box::new)
                .map(Self::Manifest),
            Collection::Tag => read(value).and_then(|record| TagFact::of(&record)).map(Self::Tag),
            Collection::RepoPage => read(value)
                .and_then(|record| PageFact::of(rkey, record))
                .map(Self::Page),
            Collection::Profile => read(value)
                .and_then(|record| ProfileFact::of(rkey, &record))
                .map(Self::Profile),
            Collection::Star => read(value)
                .and_then(|record| StarFact::of(&record))
                .map(Self::Star),
            Collection::Captain => read(value)
                .and_then(|record| CaptainFact::of(rkey, record))
                .map(Self::Captain),
            Collection::Crew => read(value).and_then(CrewFact::of).map(Self::Crew),
            Collection::Stats => read(value)
                .and_then(|record| StatsFact::of(rkey, &record))
                .map(Self::Stats),
            Collection::Scan => read(value)
                .and_then(|record| ScanFact::of(owner, &record))
                .map(Self::Scan),
        };
        fact.unwrap_or(Self::Unusable)
    }
}

fn read<R: atcr_atproto::lexicon::Record>(value: Value) -> Option<R> {
    R::from_value(value).ok()
}

/// Whether `rkey` is the one key that the only record of a collection may have.
fn is_self(rkey: &RecordKey) -> bool {
    rkey.as_str() == "self"
}
