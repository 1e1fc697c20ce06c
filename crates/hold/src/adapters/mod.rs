//! What talks to disks and object stores.

pub mod filesystem;
pub mod observed;
pub mod s3;
pub mod sqlite;
