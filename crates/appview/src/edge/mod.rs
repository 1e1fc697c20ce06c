//! HTTP: everything that knows requests, statuses and headers.

pub mod api;
pub mod credential_helper;
pub mod credentials;
pub mod device;
pub mod dialect;
pub mod error;
pub mod limits;
pub mod oauth;
pub mod pages;
pub mod panics;
pub mod registry;
pub mod response;
pub mod token;
pub mod well_known;
