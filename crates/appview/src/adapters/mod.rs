//! Implementations of the registry's ports.

pub mod hold_blobs;
pub mod spool;
pub mod sqlite;
