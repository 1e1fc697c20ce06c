//! Where images come from, and what the hold has of them already.

pub mod by_name;
pub mod hold_blobs;
pub mod kept_lists;
pub mod network;
pub mod oci_folder;
pub mod results;
pub mod socket;
