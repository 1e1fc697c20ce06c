//! The ports over the network.

pub mod pds;
pub mod socket;
