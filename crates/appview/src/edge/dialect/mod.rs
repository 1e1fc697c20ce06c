//! One file per wire dialect of errors, and one for each dialect's statuses, which is an exhaustive match.

pub mod json;
pub mod oci;
pub mod oci_status;
pub mod page;
