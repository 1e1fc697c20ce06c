//! Records and XRPC shapes of the `io.atcr` namespace, one struct each, and their record keys.
//!
//! | Collection | Struct | Lives in | Record key |
//! |---|---|---|---|
//! | `io.atcr.manifest` | [`manifest::ManifestRecord`] | user's PDS | digest, see [`manifest::rkey`] |
//! | `io.atcr.tag` | [`tag::TagRecord`] | user's PDS | repository and tag, see [`tag::rkey`] |
//! | `io.atcr.sailor.profile` | [`sailor_profile::SailorProfileRecord`] | user's PDS | `self` |
//! | `io.atcr.sailor.star` | [`star::StarRecord`] | user's PDS | hash, see [`star::rkey`] |
//! | `io.atcr.repo.page` | [`repo_page::RepoPageRecord`] | user's PDS | repository, see [`repo_page::rkey`] |
//! | `io.atcr.hold` | [`hold_legacy::HoldLegacyRecord`] | user's PDS | host name; read only |
//! | `io.atcr.hold.captain` | [`captain::CaptainRecord`] | hold | `self` |
//! | `io.atcr.hold.crew` | [`crew::CrewRecord`] | hold | hash, see [`crew::rkey`] |
//! | `io.atcr.hold.layer` | [`layer::LayerRecord`] | hold | TID |
//! | `io.atcr.hold.stats` | [`stats::StatsRecord`] | hold | hash, see [`stats::rkey`] |
//! | `io.atcr.hold.scan` | [`scan::ScanRecord`] | hold | digest, see [`scan::rkey`] |
//!
//! Readers are lenient where older writers differed; writers write the form that every reader understands. The JSON
//! documents are under `lexicons/`; a test checks that what the constructors make conforms to them.

mod blob_ref;
mod lenient;
mod record;
mod record_key;

pub mod captain;
pub mod crew;
pub mod hold_crew;
pub mod hold_legacy;
pub mod hold_upload;
pub mod hold_user_data;
pub mod layer;
pub mod manifest;
pub mod notify_manifest;
pub mod nsid;
pub mod repo_page;
pub mod sailor_profile;
pub mod scan;
pub mod star;
pub mod stats;
pub mod tag;

pub use blob_ref::{BlobRef, CidLink};
pub use record::{Record, RecordError};
