//! The ports over the network.

pub mod directory;
mod host_turns;
pub mod pds;
pub mod service;
pub mod socket;
