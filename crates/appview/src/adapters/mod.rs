//! Implementations of the registry's ports.

pub mod content_proofs;
pub mod hold_blobs;
pub mod spool;
pub mod sqlite;
