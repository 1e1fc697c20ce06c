//! HTTP: everything that knows requests, statuses and headers.

pub mod body;
pub mod client_ip;
pub mod credential_helper;
pub mod credentials;
pub mod device;
pub mod dialect;
pub mod health;
pub mod oauth;
pub mod rate_limit;
pub mod registry;
pub mod request_log;
pub mod response;
pub mod security_headers;
pub mod token;
pub mod web;
pub mod well_known;
