//! The index in SQLite: what is written, what pages read, and that the order of events does not matter.

mod convergence;
mod network;
mod pages;
mod search;
mod status;
mod store;
mod work;
