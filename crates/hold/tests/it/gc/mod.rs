//! Garbage collection: blobs that nothing names go, and nothing that anybody was promised.

mod histories;
mod model;
mod rules;
mod world;
