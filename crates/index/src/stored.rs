//! Values as they are in the tables: codes, bytes and numbers of every database that the index is in.

use std::collections::BTreeMap;

use atcr_atproto::lexicon::{manifest, tag};
use atcr_atproto::syntax::{Cid, Did, Handle};
use atcr_oci::{Algorithm, Digest};
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;

use crate::change::{Coverage, Lane, Proof, Status};
use crate::fact::Kind;
use crate::view::OwnerView;
use crate::{Collection, IndexError};

/// A digest: one byte for the algorithm, then the hash.
pub fn digest_bytes(digest: &Digest) -> Vec<u8> {
    let code = match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    };
    let mut bytes = vec![code];
    bytes.extend(digest.hash_bytes());
    bytes
}

/// The same; empty for none.
pub fn some_digest_bytes(digest: Option<&Digest>) -> Vec<u8> {
    digest.map(digest_bytes).unwrap_or_default()
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// A CID in binary; empty for none.
pub fn cid_bytes(cid: Option<&Cid>) -> Vec<u8> {
    cid.map(Cid::to_bytes).unwrap_or_default()
}

/// An instant, in microseconds since 1970.
pub fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

/// An instant that a record claims, but not later than `now`.
pub fn seen_micros(claimed: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    micros(claimed.min(now))
}

/// The instant of a number of microseconds.
pub fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// The instant; `None` for 0.
pub fn some_instant(micros: i64) -> Option<DateTime<Utc>> {
    (micros != 0).then(|| instant(micros))
}

/// The digest of a column.
pub fn digest(bytes: &[u8]) -> Result<Digest, IndexError> {
    let algorithm = match bytes.first() {
        Some(1) => Algorithm::Sha256,
        Some(2) => Algorithm::Sha512,
        _ => return Err(IndexError::Corrupt("a digest")),
    };
    Digest::from_hash_bytes(algorithm, &bytes[1..]).ok_or(IndexError::Corrupt("a digest"))
}

/// The same; `None` for no bytes.
pub fn some_digest(bytes: &[u8]) -> Result<Option<Digest>, IndexError> {
    (!bytes.is_empty()).then(|| digest(bytes)).transpose()
}

/// The CID of a column.
pub fn cid(bytes: &[u8]) -> Result<Cid, IndexError> {
    Cid::try_from(bytes).map_err(|_| IndexError::Corrupt("a CID"))
}

/// The same; `None` for no bytes.
pub fn some_cid(bytes: &[u8]) -> Result<Option<Cid>, IndexError> {
    (!bytes.is_empty()).then(|| cid(bytes)).transpose()
}

/// The DID of a column.
pub fn did(text: &str) -> Result<Did, IndexError> {
    text.parse().map_err(|_| IndexError::Corrupt("a DID"))
}

/// The same; `None` for an empty text.
pub fn some_did(text: &str) -> Result<Option<Did>, IndexError> {
    (!text.is_empty()).then(|| did(text)).transpose()
}

/// The handle of a column; `None` for an empty text.
pub fn some_handle(text: &str) -> Result<Option<Handle>, IndexError> {
    (!text.is_empty())
        .then(|| text.parse().map_err(|_| IndexError::Corrupt("a handle")))
        .transpose()
}

/// The number under which a status is kept: the more severe, the greater.
pub fn status_code(status: Status) -> i64 {
    match status {
        Status::Active => 0,
        Status::Deactivated => 1,
        Status::Suspended => 2,
        Status::TakenDown => 3,
        Status::Deleted => 4,
        Status::Inactive => 5,
    }
}

/// The status of a number.
pub fn status(code: i64) -> Status {
    match code {
        0 => Status::Active,
        1 => Status::Deactivated,
        2 => Status::Suspended,
        3 => Status::TakenDown,
        4 => Status::Deleted,
        _ => Status::Inactive,
    }
}

/// The number under which a coverage is kept.
pub fn coverage_code(coverage: Coverage) -> i64 {
    match coverage {
        Coverage::Unlisted => 0,
        Coverage::Cut => 1,
        Coverage::Whole => 2,
    }
}

/// The coverage of a number.
pub fn coverage(code: i64) -> Coverage {
    match code {
        2 => Coverage::Whole,
        1 => Coverage::Cut,
        _ => Coverage::Unlisted,
    }
}

/// The kind of a number.
pub fn kind(code: i64) -> Result<Kind, IndexError> {
    Kind::from_code(code).ok_or(IndexError::Corrupt("a manifest's kind"))
}

/// The annotations of a column.
pub fn annotations(json: &str) -> Result<BTreeMap<String, String>, IndexError> {
    serde_json::from_str(json).map_err(|_| IndexError::Corrupt("annotations"))
}

/// What an image says of itself: the annotations of its manifest, then the labels of its configuration, from two columns.
pub fn described(
    annotations: Option<&str>,
    labels: Option<&str>,
) -> Result<BTreeMap<String, String>, IndexError> {
    let mut described = labels.map(self::annotations).transpose()?.unwrap_or_default();
    described.extend(
        annotations
            .map(self::annotations)
            .transpose()?
            .unwrap_or_default(),
    );
    Ok(described)
}

/// The list of texts of a column.
pub fn strings(json: &str) -> Result<Vec<String>, IndexError> {
    serde_json::from_str(json).map_err(|_| IndexError::Corrupt("a list of texts"))
}

/// A count of the database as the ports have it.
pub fn count(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// A number of a record as the database has it.
pub fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The number under which a proof is kept.
pub fn proof_code(proof: Proof) -> i64 {
    match proof {
        Proof::Owner => 0,
        Proof::Signed => 1,
    }
}

/// The proof of a number.
pub fn proof(code: i64) -> Proof {
    if code == 0 { Proof::Owner } else { Proof::Signed }
}

/// The number under which a collection is kept.
pub fn collection_code(collection: Collection) -> i64 {
    place(&Collection::ALL, collection)
}

/// The number under which a lane is kept.
pub fn lane_code(lane: Lane) -> i64 {
    place(&Lane::ALL, lane)
}

fn place<T: PartialEq>(all: &[T], one: T) -> i64 {
    let place = all.iter().position(|known| *known == one);
    place.and_then(|code| i64::try_from(code).ok()).unwrap_or(0)
}

/// An account, as cards and rows name it.
pub fn owner(did: &str, handle: &str) -> Result<OwnerView, IndexError> {
    Ok(OwnerView {
        did: self::did(did)?,
        handle: some_handle(handle)?,
    })
}

/// The key of a manifest's record: made again from the digest, unless it is another one.
pub fn manifest_rkey(digest: &Digest, odd_rkey: String) -> String {
    if !odd_rkey.is_empty() {
        return odd_rkey;
    }
    manifest::rkey(digest.as_str())
        .map(String::from)
        .unwrap_or_default()
}

/// The key of a tag's record: made again from repository and tag, unless it is another one.
pub fn tag_rkey(repository: &str, name: &str, odd_rkey: String) -> String {
    if !odd_rkey.is_empty() {
        return odd_rkey;
    }
    tag::rkey(repository, name).map(String::from).unwrap_or_default()
}
