//! Memory for answers: one budget for bodies that arrive, one for what is made of them when they are complete.
//!
//! A body takes its length while it arrives and nothing more, however slow its server is. What parsing it costs is taken only when
//! all of it is there, and given back with what was parsed. Hosts below one registered name have one share. The order is always
//! reading, then parsing; no code that holds a part for parsing waits for one for reading. How much there is by default is
//! [`ANSWER_MEMORY_BYTES`](crate::bounds::ANSWER_MEMORY_BYTES).

use std::time::Duration;

use super::byte_budget::Exhausted;
use super::party::party;
use super::shared_budget::{SharePermit, SharedBudget};
use crate::bounds::MAX_JSON_COST_FACTOR;

/// The two budgets. Clones share them.
#[derive(Clone, Debug)]
pub struct AnswerMemory {
    reading: SharedBudget,
    parsing: SharedBudget,
}

impl AnswerMemory {
    /// Half of `total_bytes` for bodies that arrive, half for what is made of them.
    #[must_use]
    pub fn new(total_bytes: usize) -> Self {
        Self {
            reading: SharedBudget::new(total_bytes / 2),
            parsing: SharedBudget::new(total_bytes / 2),
        }
    }

    /// Room for a body of at most `bytes` that `host` sends.
    ///
    /// # Errors
    /// [`Exhausted::Busy`] after `patience`.
    pub async fn read(&self, host: &str, bytes: usize, patience: Duration) -> Result<SharePermit, Exhausted> {
        self.reading.acquire(&party(host), bytes, patience).await
    }

    /// Room for what is made of a complete body of `bytes` that `host` sent.
    ///
    /// # Errors
    /// [`Exhausted::Busy`] after `patience`.
    pub async fn parse(
        &self,
        host: &str,
        bytes: usize,
        patience: Duration,
    ) -> Result<SharePermit, Exhausted> {
        self.parsing
            .acquire(&party(host), bytes.saturating_mul(MAX_JSON_COST_FACTOR), patience)
            .await
    }

    /// Both budgets in bytes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.reading.total() + self.parsing.total()
    }

    /// Bytes of both budgets that are in flight now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.reading.in_flight() + self.parsing.in_flight()
    }
}
