//! Values as they are in the tables.

use std::collections::BTreeMap;

use atcr_atproto::syntax::{Cid, Did, Handle};
use atcr_index::IndexError;
use atcr_index::change::{Coverage, Status};
use atcr_index::fact::Kind;
use atcr_oci::{Algorithm, Digest};
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;

/// A digest: one byte for the algorithm, then the hash.
pub(crate) fn digest_bytes(digest: &Digest) -> Vec<u8> {
    let code = match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    };
    let mut bytes = vec![code];
    bytes.extend(digest.hash_bytes());
    bytes
}

/// The same; empty for none.
pub(crate) fn some_digest_bytes(digest: Option<&Digest>) -> Vec<u8> {
    digest.map(digest_bytes).unwrap_or_default()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// A CID in binary; empty for none.
pub(crate) fn cid_bytes(cid: Option<&Cid>) -> Vec<u8> {
    cid.map(Cid::to_bytes).unwrap_or_default()
}

/// A text as PostgreSQL takes it: none has a NUL there, so a record's is shown as a character that cannot be.
pub(crate) fn text(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.to_owned()
    }
}

pub(crate) fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

/// An instant that a record claims, but not later than `now`.
pub(crate) fn seen_micros(claimed: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    micros(claimed.min(now))
}

pub(crate) fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// The instant; `None` for 0.
pub(crate) fn some_instant(micros: i64) -> Option<DateTime<Utc>> {
    (micros != 0).then(|| instant(micros))
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, IndexError> {
    let algorithm = match bytes.first() {
        Some(1) => Algorithm::Sha256,
        Some(2) => Algorithm::Sha512,
        _ => return Err(IndexError::Corrupt("a digest")),
    };
    Digest::from_hash_bytes(algorithm, &bytes[1..]).ok_or(IndexError::Corrupt("a digest"))
}

pub(crate) fn some_digest(bytes: &[u8]) -> Result<Option<Digest>, IndexError> {
    (!bytes.is_empty()).then(|| digest(bytes)).transpose()
}

pub(crate) fn cid(bytes: &[u8]) -> Result<Cid, IndexError> {
    Cid::try_from(bytes).map_err(|_| IndexError::Corrupt("a CID"))
}

pub(crate) fn some_cid(bytes: &[u8]) -> Result<Option<Cid>, IndexError> {
    (!bytes.is_empty()).then(|| cid(bytes)).transpose()
}

pub(crate) fn did(text: &str) -> Result<Did, IndexError> {
    text.parse().map_err(|_| IndexError::Corrupt("a DID"))
}

pub(crate) fn some_did(text: &str) -> Result<Option<Did>, IndexError> {
    (!text.is_empty()).then(|| did(text)).transpose()
}

pub(crate) fn some_handle(text: &str) -> Result<Option<Handle>, IndexError> {
    (!text.is_empty())
        .then(|| text.parse().map_err(|_| IndexError::Corrupt("a handle")))
        .transpose()
}

pub(crate) fn status_code(status: Status) -> i64 {
    match status {
        Status::Active => 0,
        Status::Deactivated => 1,
        Status::Suspended => 2,
        Status::TakenDown => 3,
        Status::Deleted => 4,
        Status::Inactive => 5,
    }
}

pub(crate) fn status(code: i64) -> Status {
    match code {
        0 => Status::Active,
        1 => Status::Deactivated,
        2 => Status::Suspended,
        3 => Status::TakenDown,
        4 => Status::Deleted,
        _ => Status::Inactive,
    }
}

pub(crate) fn coverage_code(coverage: Coverage) -> i64 {
    match coverage {
        Coverage::Unlisted => 0,
        Coverage::Cut => 1,
        Coverage::Whole => 2,
    }
}

pub(crate) fn coverage(code: i64) -> Coverage {
    match code {
        2 => Coverage::Whole,
        1 => Coverage::Cut,
        _ => Coverage::Unlisted,
    }
}

pub(crate) fn kind(code: i64) -> Result<Kind, IndexError> {
    Kind::from_code(code).ok_or(IndexError::Corrupt("a manifest's kind"))
}

pub(crate) fn annotations(json: &str) -> Result<BTreeMap<String, String>, IndexError> {
    serde_json::from_str(json).map_err(|_| IndexError::Corrupt("annotations"))
}

pub(crate) fn strings(json: &str) -> Result<Vec<String>, IndexError> {
    serde_json::from_str(json).map_err(|_| IndexError::Corrupt("a list of texts"))
}

/// A count of the database as the ports have it.
pub(crate) fn count(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// A number of a record as the database has it.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
