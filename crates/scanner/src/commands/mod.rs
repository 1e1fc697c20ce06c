//! What the command line does beside serving.

pub mod db;
pub mod doctor;
pub mod scan;
