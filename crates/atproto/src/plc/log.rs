//! The operations of one DID, checked from the first to the last. The directory decides only which operations there are.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{Operation, PlcData};
use crate::egress::json;
use crate::syntax::Did;

/// More operations than the directory takes in a year from one DID at its weekly limit.
const MAX_OPERATIONS: usize = 5_000;

/// Why a log proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The DID was given up for good.
    #[error("{did} was deactivated for good")]
    Deactivated {
        /// The DID.
        did: Did,
    },
    /// An operation is missing, forged, or of a form that is not supported.
    #[error("the operations of {did} cannot be verified: {reason}")]
    Unverified {
        /// The DID.
        did: Did,
        /// What is wrong with them.
        reason: &'static str,
    },
}

/// A verified log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlcLog {
    operations: Vec<Operation>,
    /// When the directory took the newest one, as far as it says.
    newest_at: Option<DateTime<Utc>>,
}

/// An entry of the directory's audit log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    operation: Value,
    #[serde(default)]
    nullified: bool,
    created_at: Option<String>,
}

impl PlcLog {
    /// Reads and checks a log that was kept: the text that a directory gives for `/:did/log/audit`. That nothing was added since, only
    /// the directory knows.
    ///
    /// # Errors
    /// [`LogError`]
    pub fn read(did: &Did, text: &[u8]) -> Result<Self, LogError> {
        let entries = json::parse(text).map_err(|_| LogError::Unverified {
            did: did.clone(),
            reason: "they are no audit log",
        })?;
        Self::verify(did, entries)
    }

    /// Checks that `entries` lead from the operation that `did` is the hash of, each signed by a rotation key of the one before it, to
    /// the current one. Entries that were undone are skipped.
    pub(super) fn verify(did: &Did, entries: Vec<Entry>) -> Result<Self, LogError> {
        let unverified = |reason| LogError::Unverified {
            did: did.clone(),
            reason,
        };
        if entries.len() > MAX_OPERATIONS {
            return Err(unverified("there are too many of them"));
        }
        let mut operations: Vec<Operation> = Vec::new();
        let mut newest_at = None;
        for entry in entries.into_iter().filter(|entry| !entry.nullified) {
            match entry.operation.get("type").and_then(Value::as_str) {
                Some("plc_operation") => {}
                Some("plc_tombstone") => return Err(LogError::Deactivated { did: did.clone() }),
                _ => return Err(unverified("one is of an old form")),
            }
            let operation: Operation = serde_json::from_value(entry.operation)
                .map_err(|_| unverified("one is not of the expected form"))?;
            let is_next = match operations.last() {
                None => operation.prev().is_none() && operation.did().as_ref() == Some(did),
                Some(last) => operation.prev() == Some(last.cid().to_string().as_str()),
            };
            if !is_next {
                return Err(unverified("one does not follow the one before it"));
            }
            let signers = operations.last().unwrap_or(&operation).data().rotation_keys;
            if !operation.is_signed_by_one_of(&signers) {
                return Err(unverified("a signature does not verify"));
            }
            operations.push(operation);
            newest_at = entry
                .created_at
                .and_then(|at| DateTime::parse_from_rfc3339(&at).ok())
                .map(|at| at.to_utc());
        }
        if operations.is_empty() {
            return Err(unverified("there are none"));
        }
        Ok(Self {
            operations,
            newest_at,
        })
    }

    /// What the DID document says now.
    #[must_use]
    pub fn data(&self) -> PlcData {
        self.operations.last().map(Operation::data).unwrap_or_default()
    }

    /// The newest operation; `None` never happens in a verified log.
    #[must_use]
    pub fn newest(&self) -> Option<&Operation> {
        self.operations.last()
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// A verified log has at least one operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// When the DID was last changed; `None` if it never was, or if the directory does not say.
    #[must_use]
    pub fn changed_at(&self) -> Option<DateTime<Utc>> {
        (self.operations.len() > 1).then_some(self.newest_at).flatten()
    }
}
