//! The one HTTP client for hosts that others name: PDSes, holds, handles, redirect targets, presigned URLs.
//!
//! | Module | Decides |
//! |---|---|
//! | [`guard`] | which URLs, redirects and addresses a client may ask: the guard against requests to one's own network |
//! | [`address_ranges`] | which addresses are public, private, this machine; which names are local |
//! | [`lookup`] | names to addresses, filtered at the moment of connecting, so a rebinding answer gains nothing |
//! | [`client`] | the client: proxies (none), time and body limits |
//! | `host_permits` | how many requests to one host are under way at once |
//! | [`answer`] | how long an answer may be and how slowly it may come |
//! | [`answer_memory`] | how much memory all answers take together, arriving and parsed |
//! | [`byte_budget`], [`shared_budget`] | bytes in flight, and one party's share of them |
//! | [`party`] | whose a host is, so that many names of one owner count as one |
//! | [`json`] | how deep a JSON answer nests, and what parsing it may cost |
//! | [`error`] | what went wrong, in words that never hold a path, a query string or a credential |

pub mod address_ranges;
pub mod answer;
pub mod answer_memory;
pub mod byte_budget;
pub mod client;
pub mod error;
pub mod guard;
mod host_permits;
pub mod json;
pub mod lookup;
pub mod party;
pub mod shared_budget;

pub use answer::{CappedBody, Limits, Pace, PaceWatch};
pub use answer_memory::AnswerMemory;
pub use byte_budget::{ByteBudget, BytePermit, Exhausted};
pub use client::EgressClient;
pub use error::EgressError;
pub use guard::EgressPolicy;
pub use host_permits::HostLimit;
pub use lookup::{HostLookup, SystemLookup};
pub use party::party;
pub use shared_budget::{SharePermit, SharedBudget};

pub use crate::bounds::{
    CONNECT_TIMEOUT, DOCUMENT_TIMEOUT as DEFAULT_TIMEOUT, MAX_DOCUMENT_BYTES as DEFAULT_BODY_CAP,
    MAX_REDIRECTS,
};

/// Limits of a plain XRPC call made through [`atrium_xrpc::HttpClient`].
pub const XRPC_LIMITS: Limits = Limits {
    max_bytes: crate::bounds::MAX_ANSWER_BYTES,
    timeout: crate::bounds::ANSWER_TIMEOUT,
};

#[cfg(test)]
mod tests;
