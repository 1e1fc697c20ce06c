//! Implementations of the registry's ports.

pub mod content_proofs;
pub mod crew;
pub mod hold_blobs;
pub mod hold_gateway;
pub mod hold_tokens;
pub mod pds_client;
pub mod pds_error;

pub mod pds_profiles;
pub mod pds_records;
pub mod pds_sessions;
pub mod spool;
mod spool_usage;
pub mod sqlite;
