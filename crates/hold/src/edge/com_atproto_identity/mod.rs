//! `com.atproto.identity.*`, one file per method.

pub mod resolve_handle;
