//! Garbage collection: blobs that nothing names go, and nothing that anybody was promised.

mod accounts;
mod ages;
mod histories;
mod interruptions;
mod model;
mod rules;
mod servers;
mod world;
