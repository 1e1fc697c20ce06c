//! Push and pull: what the registry decides, behind typed requests and in front of ports.
//!
//! Manifests and tags live at the owner's PDS ([`manifests`] and its neighbours), blobs at a hold ([`blob`], [`upload`],
//! [`mount`]); [`hold_discovery`] says which. [`access`] is the only way to a value that lets a use case write.

pub mod access;
pub mod accounts;
pub mod blob;
pub mod catalog;
mod commit_size;
pub mod context;
pub mod coverage;
mod delete_manifest;
pub mod error;
pub mod hold_discovery;
pub mod keyed_locks;
pub mod layout;
pub mod listing_limits;
pub mod manifest_cache;
pub mod manifest_record;
pub mod manifests;
pub mod mount;
pub mod notice_sender;
pub mod notices;
pub mod ports;
mod pull_manifest;
mod push_manifest;
pub mod push_notices;
mod referrers;
pub mod scopes;
pub mod tags;
pub mod upload;

pub use access::{Delete, Granted, Pull, Push};
pub use context::RequestContext;
pub use error::RegistryError;
pub use pull_manifest::ServedManifest;
pub use push_manifest::{ManifestUpload, PushedManifest};
