//! `com.atproto.server.*`, one file per method.

pub mod describe_server;
