//! Implementations of the registry's ports.

pub mod content_proofs;
pub mod crew;
pub mod hold;
pub mod indexed_manifests;
pub mod indexed_records;
pub mod indexed_takedowns;
pub mod observed;
pub mod pds_client;
pub mod pds_profiles;
pub mod pds_proofs;
pub mod pds_records;
pub mod pds_sessions;
pub mod signed_in_devices;
pub mod spool;
mod spool_usage;
pub mod sqlite;
