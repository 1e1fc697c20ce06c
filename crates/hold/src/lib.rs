//! The hold: a blob service around an embedded PDS.
//!
//! | Module | Holds |
//! |---|---|
//! | [`edge`] | HTTP: extractors, one file per XRPC method, the XRPC error dialect |
//! | [`routes`] | every route on one page |
//! | [`blobs`] | uploads and downloads; [`guarded_blobs`] asks for permission first |
//! | [`backup`] | the repository's copy in another place |
//! | [`bucket_test`] | whether a bucket does what a hold needs |
//! | [`manifests`] | layer and stats records of pushed and pulled manifests |
//! | [`gc`] | blobs that nothing names: condemned, removed |
//! | [`firehose`] | who follows the repository's events |
//! | [`relays`] | those that are asked to follow the hold |
//! | [`repo_blobs`] | blobs that the hold's own records refer to |
//! | [`scanning`] | images to be scanned, their scanners, what was found |
//! | [`crew`], [`administration`] | joining the crew; managing it |
//! | [`user_data`] | what the hold knows of one user: told and erased |
//! | [`posts`] | posts about pushes |
//! | [`quota`] | tiers, and how much each user may keep |
//! | `admin` | what the captain sees and changes in a browser; only with the feature `pages` |
//! | [`access_tokens`] | whose OAuth access token a caller presents |
//! | [`adapters`] | object stores and SQLite, behind the ports of the domain folders |
//! | [`config`], [`settings`], [`cli`], [`compose`] | settings as written and as parsed, command line, wiring |
//! | [`commands`] | what the command line does beside serving |
//!
//! Who may do what is decided in `atcr_hold_pds::access`, whose proofs the use cases ask for. One more XRPC method: a file
//! under `edge/<namespace>/`, a line in [`routes`], a test over HTTP.

pub mod access_tokens;
pub mod adapters;
#[cfg(feature = "pages")]
pub mod admin;
pub mod administration;
pub mod backup;
pub mod blobs;
pub mod bucket_test;
pub mod cli;
pub mod commands;
pub mod compose;
pub mod config;
pub mod crew;
pub mod edge;
pub mod firehose;
pub mod gc;
pub mod guarded_blobs;
pub mod identity;
pub mod manifests;
pub mod posts;
pub mod quota;
pub mod relays;
pub mod repo_blobs;
pub mod routes;
pub mod scanning;
pub mod settings;
pub mod state;
pub mod user_data;
