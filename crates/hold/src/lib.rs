//! The hold: a blob service around an embedded PDS.
//!
//! - [`adapters`]: object stores and SQLite, behind the ports of the domain folders
//! - [`blobs`]: uploads and downloads

pub mod adapters;
pub mod blobs;
