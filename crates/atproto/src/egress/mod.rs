//! The one HTTP client for hosts that somebody else named: PDSes, holds, handles, redirect targets, presigned URLs.
//!
//! | Module | Decides |
//! |---|---|
//! | [`address_policy`] | which addresses and host names may be spoken to at all |
//! | [`lookup`] | names to addresses, filtered at the moment of connecting, so a rebinding answer gains nothing |
//! | [`client`] | schemes, redirects, proxies (none), time and body limits |
//! | [`error`] | what went wrong, in words that never hold a path, a query string or a credential |

pub mod address_policy;
pub mod client;
pub mod error;
pub mod lookup;

pub use client::{CappedBody, EgressClient, EgressPolicy, Limits};
pub use error::EgressError;
pub use lookup::{HostLookup, SystemLookup};

use std::time::Duration;

/// Largest identity document or other small answer that is read, in bytes (512 KiB).
pub const DEFAULT_BODY_CAP: usize = 512 * 1024;

/// Time for a small answer as a whole, name look-up, connection, redirects and body included.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time to open a connection, TLS included, whatever the request is.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Redirects followed for a document before the request is given up.
pub const MAX_REDIRECTS: usize = 3;

/// Limits of a plain XRPC call made through [`atrium_xrpc::HttpClient`]: 5 MiB and 15 s.
pub const XRPC_LIMITS: Limits = Limits {
    max_bytes: 5 * 1024 * 1024,
    timeout: Duration::from_secs(15),
};

#[cfg(test)]
mod tests;
