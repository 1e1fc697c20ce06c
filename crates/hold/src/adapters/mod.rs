//! Adapters for disks, object stores and other hosts.

pub mod account_manifests;
pub mod filesystem;
pub mod observed;
pub mod pds_sessions;
pub mod relay_client;
pub mod s3;
pub mod save_mark;
pub mod sqlite;
