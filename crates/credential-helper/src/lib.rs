//! `docker-credential-atcr`: signs Docker, Podman and similar programs in to ATCR registries.
//!
//! For Docker it is a credential helper: [`commands::get`], [`commands::store`], [`commands::erase`],
//! [`commands::list`], without network, prompts or browser. For people it is a small tool that signs in by the device
//! flow and keeps several accounts at several registries. It never sees a token of a PDS: it keeps a device secret that
//! the registry issued and the user can revoke.
//!
//! - [`registry_url`], [`protocol`], [`image_identity`]: grammar, no I/O
//! - [`accounts`], [`selection`]: the accounts that are signed in, and the choice of one
//! - [`file_store`], [`device_file`], [`keyring`], [`docker_config`], [`ancestors`], [`environment`]: this machine
//! - [`appview`], [`device_flow`], [`release`]: the registry
//! - [`verification`]: whether an image is its author's, asked of the author's own server
//! - [`scans`]: what an image's hold found in it, asked of the registry
//! - [`commands`], [`printer`]: the user; a new command is a file there and a line in [`cli`]

pub mod accounts;
pub mod ancestors;
pub mod appview;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod device_file;
pub mod device_flow;
pub mod docker_config;
pub mod environment;
pub mod error;
pub mod file;
pub mod file_store;
pub mod image_identity;
pub mod keyring;
pub mod printer;
mod prompt;
pub mod protocol;
pub mod registry_url;
pub mod release;
pub mod scans;
pub mod selection;
pub mod verification;

pub use cli::{command, run};

/// The registry that is meant when none is named.
pub const DEFAULT_REGISTRY: &str = "atcr.io";
