//! The edge: HTTP in, domain calls, HTTP out. A handler reads: extract, authorise, call one use case, render.

pub mod app_bsky_actor;
pub mod auth;
pub mod caller_limits;
pub mod com_atproto_identity;
pub mod com_atproto_repo;
pub mod com_atproto_server;
pub mod com_atproto_sync;
pub mod control;
pub mod error;
mod error_status;
pub mod extract;
pub mod health;
pub mod io_atcr_hold;
#[cfg(feature = "pages")]
pub mod pages;
pub mod relays;
pub mod repository_blobs;
pub mod scanner;
pub mod scans;
pub mod store;
pub mod websocket;
pub mod well_known;
