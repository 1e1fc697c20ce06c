//! HTTP: everything that knows requests, statuses and headers.

pub mod dialect;
pub mod registry;
