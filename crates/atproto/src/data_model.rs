//! The AT Protocol data model: its JSON form, with `$link` and `$bytes`, and IPLD, which is what gets encoded.
//!
//! [`ipld_to_json`] undoes [`json_to_ipld`]. Encode the result with `serde_ipld_dagcbor`; the CID
//! of the bytes is [`cid_of`].
//!
//! # Spec
//! atproto specs "Data Model".

mod block;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cid::Cid;
use ipld_core::ipld::Ipld;
use multihash::Multihash;
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

pub use self::block::{RecordBlockError, record_from_block};

/// Multicodec of DAG-CBOR: records, commits, tree nodes.
pub const DAG_CBOR: u64 = 0x71;
/// Multicodec of raw bytes: blobs.
pub const RAW: u64 = 0x55;
/// Multihash code of SHA-256.
pub const SHA2_256: u64 = 0x12;

/// Writes no padding; reads it or not, and does not mind stray bits at the end, as other implementations do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Integers up to here are exact in the floating-point numbers that JavaScript writes: 2^53.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// The deepest nesting of a value. Deeper input is refused: it could overflow the stack of code that walks it.
pub const MAX_DEPTH: usize = 64;

/// A value that the data model does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataModelError {
    /// A number with a fraction, or an IPLD float.
    #[error("floating-point numbers are not allowed")]
    Float,
    /// An integer beyond 64 bits, signed.
    #[error("the integer does not fit in 64 bits")]
    IntegerRange,
    /// `$link` beside other keys, not a string, or not a CID of the kinds atproto uses.
    #[error("invalid $link")]
    InvalidLink,
    /// `$bytes` beside other keys, not a string, or not base64.
    #[error("invalid $bytes")]
    InvalidBytes,
    /// A `$type` that is not a string, or an empty one.
    #[error("invalid $type")]
    InvalidType,
    /// An object of `$type` `blob` that is not a blob reference.
    #[error("invalid blob reference")]
    InvalidBlob,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
    /// A record is an object at its top.
    #[error("a record must be an object")]
    NotAnObject,
}

/// The CID of a block: version 1, SHA-256, with the given codec ([`DAG_CBOR`] or [`RAW`]).
#[must_use]
pub fn cid_of(codec: u64, bytes: &[u8]) -> Cid {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    cid_of_sha256(codec, &hash)
}

/// The CID of a block whose SHA-256 is already known.
#[must_use]
pub fn cid_of_sha256(codec: u64, hash: &[u8; 32]) -> Cid {
    // 32 bytes always fit in a 64-byte multihash.
    Cid::new_v1(codec, Multihash::wrap(SHA2_256, hash).unwrap_or_default())
}

/// Converts a record from JSON.
///
/// # Errors
/// [`DataModelError`] for whatever the data model refuses; [`DataModelError::NotAnObject`] if the top is not an object.
pub fn record_to_ipld(value: &Value) -> Result<Ipld, DataModelError> {
    if value.is_object() {
        json_to_ipld(value)
    } else {
        Err(DataModelError::NotAnObject)
    }
}

/// Converts any value from JSON. `{"$link": …}` becomes a link, `{"$bytes": …}` bytes.
///
/// # Errors
/// [`DataModelError`] for whatever the data model refuses.
pub fn json_to_ipld(value: &Value) -> Result<Ipld, DataModelError> {
    to_ipld(value, MAX_DEPTH)
}

fn to_ipld(value: &Value, depth: usize) -> Result<Ipld, DataModelError> {
    let depth = depth.checked_sub(1).ok_or(DataModelError::TooDeep)?;
    Ok(match value {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(*value),
        Value::Number(number) => Ipld::Integer(integer(number)?.into()),
        Value::String(text) => Ipld::String(text.clone()),
        Value::Array(items) => Ipld::List(
            items
                .iter()
                .map(|item| to_ipld(item, depth))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => object_to_ipld(fields, depth)?,
    })
}

fn integer(number: &Number) -> Result<i64, DataModelError> {
    if let Some(value) = number.as_i64() {
        return Ok(value);
    }
    if number.is_u64() {
        return Err(DataModelError::IntegerRange);
    }
    match number.as_f64() {
        // `123.0` is an integer in JSON, which knows no other kind of number.
        Some(value) if value.fract() == 0.0 && value.abs() <= MAX_EXACT_FLOAT => {
            #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53 in size")]
            let value = value as i64;
            Ok(value)
        }
        _ => Err(DataModelError::Float),
    }
}

fn object_to_ipld(fields: &Map<String, Value>, depth: usize) -> Result<Ipld, DataModelError> {
    if let Some(link) = fields.get("$link") {
        return match link {
            Value::String(text) if fields.len() == 1 => parse_link(text).map(Ipld::Link),
            _ => Err(DataModelError::InvalidLink),
        };
    }
    if let Some(bytes) = fields.get("$bytes") {
        return match bytes {
            Value::String(text) if fields.len() == 1 => parse_bytes(text).map(Ipld::Bytes),
            _ => Err(DataModelError::InvalidBytes),
        };
    }
    match fields.get("$type") {
        None => {}
        Some(Value::String(name)) if name == "blob" => check_blob(fields)?,
        Some(Value::String(name)) if !name.is_empty() => {}
        Some(_) => return Err(DataModelError::InvalidType),
    }
    let converted = fields
        .iter()
        .map(|(key, value)| Ok((key.clone(), to_ipld(value, depth)?)));
    Ok(Ipld::Map(
        converted.collect::<Result<BTreeMap<_, _>, DataModelError>>()?,
    ))
}

fn parse_link(text: &str) -> Result<Cid, DataModelError> {
    // Base32 only: one link has one spelling.
    let cid = text.parse::<Cid>().map_err(|_| DataModelError::InvalidLink)?;
    let is_ours = cid.version() == cid::Version::V1
        && matches!(cid.codec(), DAG_CBOR | RAW)
        && cid.hash().code() == SHA2_256
        && cid.hash().size() == 32;
    if text.starts_with('b') && is_ours {
        Ok(cid)
    } else {
        Err(DataModelError::InvalidLink)
    }
}

fn parse_bytes(text: &str) -> Result<Vec<u8>, DataModelError> {
    BASE64.decode(text).map_err(|_| DataModelError::InvalidBytes)
}

fn check_blob(fields: &Map<String, Value>) -> Result<(), DataModelError> {
    let is_link = fields.get("ref").and_then(|value| value.get("$link")).is_some();
    let has_mime_type = fields.get("mimeType").is_some_and(Value::is_string);
    let has_size = fields
        .get("size")
        .and_then(Value::as_i64)
        .is_some_and(|size| size >= 0);
    if is_link && has_mime_type && has_size {
        Ok(())
    } else {
        Err(DataModelError::InvalidBlob)
    }
}

/// Converts any value to JSON.
///
/// # Errors
/// [`DataModelError::Float`], [`DataModelError::IntegerRange`], [`DataModelError::TooDeep`]: blocks from elsewhere may
/// hold what the data model refuses.
pub fn ipld_to_json(value: &Ipld) -> Result<Value, DataModelError> {
    to_json(value, MAX_DEPTH)
}

fn to_json(value: &Ipld, depth: usize) -> Result<Value, DataModelError> {
    let depth = depth.checked_sub(1).ok_or(DataModelError::TooDeep)?;
    Ok(match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(value) => Value::Bool(*value),
        Ipld::Integer(value) => Value::Number(
            i64::try_from(*value)
                .map_err(|_| DataModelError::IntegerRange)?
                .into(),
        ),
        Ipld::Float(_) => return Err(DataModelError::Float),
        Ipld::String(text) => Value::String(text.clone()),
        Ipld::Bytes(bytes) => single("$bytes", BASE64.encode(bytes)),
        Ipld::List(items) => Value::Array(
            items
                .iter()
                .map(|item| to_json(item, depth))
                .collect::<Result<_, _>>()?,
        ),
        Ipld::Map(fields) => {
            let converted = fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), to_json(value, depth)?)));
            Value::Object(converted.collect::<Result<Map<_, _>, DataModelError>>()?)
        }
        Ipld::Link(cid) => single("$link", cid.to_string()),
    })
}

fn single(key: &str, text: String) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), Value::String(text))]))
}

#[cfg(test)]
mod tests;
