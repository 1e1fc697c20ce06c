//! Where images come from.

pub mod by_name;
pub mod hold_blobs;
pub mod network;
pub mod oci_folder;
pub mod results;
pub mod socket;
