//! did:plc: operations, the log that makes a DID verifiable, and the directory that keeps the log.
//!
//! | Module | Does |
//! |---|---|
//! | `operation` | one operation: encoding, signature, name; the DID of the first one |
//! | `log` | the operations of one DID, each checked against the one before it |
//! | [`directory`] | the client of a directory |
//!
//! # Spec
//! did:plc v0.1, "DID Creation", "DID Update", "DID Resolution".

pub mod directory;
mod log;
mod operation;

pub use directory::{DirectoryError, PlcDirectory};
pub use log::{LogError, PlcLog};
pub use operation::{Operation, PlcData, Service};

#[cfg(test)]
mod tests;
