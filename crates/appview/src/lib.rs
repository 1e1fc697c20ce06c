//! The AppView: OCI Distribution on one side; the users' PDSes and the holds on the other. It keeps no manifest and no
//! blob of its own, only what it can rebuild from the network: an index, caches, sessions, keys.
//!
//! - [`edge`]: HTTP. Parses, authenticates, calls one use case, renders; the only part that knows statuses.
//! - `atcr-registry`: push and pull. Decides; talks to the outside through `ports.rs`.
//! - `atcr-sessions`: who a caller is, and what acts for the caller at a PDS.
//! - [`browse`]: what pages about images read.
//! - [`affected`]: which images of an account have a vulnerability or a package.
//! - [`manage`]: what owners change on pages.
//! - [`adapters`]: SQLite, PDS, hold.
//! - [`index`]: the index of the network, and what fills it; [`index_store`]: where it is kept.
//! - [`compose`]: which adapter stands behind which port.

pub mod adapters;
pub mod affected;
pub mod browse;
pub mod cli;
pub mod compose;
pub mod config;
pub mod db_migrate;
pub mod edge;
pub mod index;
pub mod index_command;
pub mod index_store;
pub mod manage;
pub mod routes;
pub mod scan_referrers;
pub mod scans;
pub mod settings;
pub mod state;
