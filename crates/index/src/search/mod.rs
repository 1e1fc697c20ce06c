//! Search: what a query means, and the order of what was found. The order is the same for every database.

mod query;
mod rank;

pub use query::{Query, trigrams, words};
pub use rank::{Candidate, ranked};
