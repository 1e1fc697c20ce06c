//! HTTP: everything that knows requests, statuses and headers.

pub mod body;
pub mod client_ip;
pub mod credentials;
pub mod dialect;
pub mod health;
pub mod oauth;
pub mod registry;
pub mod request_log;
pub mod response;
pub mod token;
pub mod well_known;
