//! The records a hold writes of its own accord, one file per collection. Each use case here is one commit.

pub mod captain;
pub mod crew;
pub mod layer;
pub mod stats;

#[cfg(test)]
mod tests;
