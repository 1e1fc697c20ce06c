//! What talks to disks and object stores.

pub mod sqlite;
