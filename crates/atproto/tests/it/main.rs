//! What the crate promises to others: the AT Protocol vectors, the records against their lexicons, and a PDS that
//! misbehaves.
#![expect(clippy::unwrap_used, reason = "tests")]

mod crypto_vectors;
mod data_model_vectors;
mod lexicon_validator;
mod lexicons;
mod pds_bounds;
mod pds_faults;
mod records;
mod suites;
mod syntax_vectors;
