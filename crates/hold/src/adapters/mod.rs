//! Adapters for disks and object stores.

pub mod filesystem;
pub mod observed;
pub mod pds_sessions;
pub mod s3;
pub mod sqlite;
