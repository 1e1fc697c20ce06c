//! One file per wire dialect of errors, each an exhaustive match.

pub mod oci;
pub mod page;
