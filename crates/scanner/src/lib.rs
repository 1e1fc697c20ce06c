//! The scanner: what is in an image, and which of it is known to be vulnerable. Linux only.
//!
//! ```text
//! hold ──jobs──► serve ──► scan ──► image: manifest, layers, checked on their way into a layout
//!      ◄─results──              ├─► tools: Syft lists packages, Grype looks them up
//!                               └─► report: counts, documents without what is not to be kept
//! ```
//!
//! | Module | Holds |
//! |---|---|
//! | [`scan`], [`job_time`] | one scan from digest to documents, and how long it may take |
//! | [`image`] | which manifests are images; inspection of layers, their cache, the layout |
//! | [`tools`] | the two programs as confined child processes |
//! | [`database`] | generations of the vulnerability database, and their updater |
//! | [`report`] | findings, counts, the table; documents stripped |
//! | [`serve`] | the connection to the hold, jobs, workers, health |
//! | [`adapters`] | the hold, accounts, an OCI layout: where images come from and documents go |
//! | [`bounds`], [`error`], [`work`] | limits; classes of failure; the folders of jobs |
//! | [`config`], [`settings`], [`cli`], [`commands`], [`compose`] | settings, command line, wiring |
//!
//! Images are hostile. They are inspected within bounds before a tool sees them, and the tools get no network, no paths but their
//! own, and so much memory, time and disk.

pub mod adapters;
pub mod bounds;
pub mod cli;
pub mod commands;
pub mod compose;
pub mod config;
pub mod database;
pub mod error;
pub mod image;
pub mod job_time;
pub mod report;
pub mod scan;
pub mod serve;
pub mod settings;
pub mod tools;
pub mod work;
