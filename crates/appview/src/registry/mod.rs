//! Push and pull: what the registry decides, behind typed requests and in front of ports.

pub mod access;
pub mod blob;
pub mod context;
pub mod error;
pub mod mount;
pub mod ports;
pub mod upload;

pub use access::{Delete, Granted, Pull, Push};
pub use context::RequestContext;
pub use error::RegistryError;
