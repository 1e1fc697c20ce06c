//! The data structures of an AT Protocol repository. No I/O: bytes and nodes come from the caller.
//!
//! - [`mst`]: the Merkle search tree: look-up, edits, ranges, differences, inversion, proofs
//! - [`commit`]: the signed commit object
//! - [`car`]: CAR version 1, read and written
//! - [`firehose`]: messages of `subscribeRepos`
//! - [`provenance`]: what a record's proof, and the bytes of a manifest, prove of an image
//! - [`Blocks`]: the blocks of a CAR, hashed
//! - [`Block`]: some bytes and their CID
//!
//! # Spec
//! atproto specs "Repository" and "Sync".

mod block;
mod blocks;
mod encoder;
mod error;

pub mod car;
pub mod commit;
pub mod firehose;
pub mod mst;
pub mod provenance;

pub use block::Block;
pub use blocks::{Blocks, BlocksError};
pub use commit::Commit;
pub use error::DataError;
