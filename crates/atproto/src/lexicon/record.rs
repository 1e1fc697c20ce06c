//! What all records have in common.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A record type: a struct whose serde form is the record without its `$type`.
pub trait Record: Serialize + DeserializeOwned {
    /// The collection, which is also the record's `$type`.
    const NSID: &'static str;

    /// The record as JSON, with its `$type`.
    ///
    /// # Errors
    /// [`RecordError::Shape`] never happens for the records of this crate: none has a map with keys that are not
    /// strings.
    fn to_value(&self) -> Result<Value, RecordError> {
        let mut value = serde_json::to_value(self)?;
        if let Value::Object(fields) = &mut value {
            fields.insert("$type".to_owned(), Value::String(Self::NSID.to_owned()));
        }
        Ok(value)
    }

    /// Reads a record. A missing `$type` is tolerated, as the collection has named it already.
    ///
    /// # Errors
    /// [`RecordError::Type`] for a record of another type, [`RecordError::Shape`] for one that lacks a required field or
    /// has one of the wrong type.
    fn from_value(mut value: Value) -> Result<Self, RecordError> {
        if let Value::Object(fields) = &mut value {
            match fields.remove("$type") {
                None => {}
                Some(Value::String(name)) if name == Self::NSID => {}
                Some(_) => return Err(RecordError::Type { expected: Self::NSID }),
            }
        }
        Ok(serde_json::from_value(value)?)
    }
}

/// A JSON value that is not the record it should be.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its `$type` names something else.
    #[error("not a record of type {expected}")]
    Type {
        /// What was asked for.
        expected: &'static str,
    },
    /// A field is missing or wrong.
    #[error("malformed record: {0}")]
    Shape(#[from] serde_json::Error),
}
