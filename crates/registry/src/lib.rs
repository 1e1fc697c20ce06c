//! Push and pull: what the registry decides, behind typed requests and in front of ports.
//!
//! - [`access`]: who may do what; the only way to a value that lets a use case write
//! - [`account`]: the owner's repository at its PDS, and an index of it
//! - [`manifest`]: manifests, tags and referrers, which are records there
//! - [`hold`]: which hold has the blobs, how it is asked, what it is told
//! - [`blob`], [`upload`]: reading blobs and writing them

pub mod access;
pub mod account;
pub mod blob;
pub mod context;
pub mod error;
pub mod hold;
pub mod manifest;
pub mod upload;

pub use access::{Caller, Delete, Granted, Permissions, Pull, Push};
pub use context::RequestContext;
pub use error::RegistryError;
pub use manifest::pull::ServedManifest;
pub use manifest::push::{ManifestUpload, PushedManifest};
