//! The ports over the network.

pub mod directory;
mod host_turns;
pub mod labeler;
pub mod pds;
pub mod socket;
