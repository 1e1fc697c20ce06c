//! The records that the hold itself writes, one file per collection. Each use case here is one commit.

pub mod captain;
pub mod crew;
pub mod layer;
pub mod profile;
pub mod stats;

#[cfg(test)]
mod tests;
