//! The crew as a list, and who keeps how much: what pages ask.

use super::HoldRepo;
use crate::error::RepoError;
use crate::index::roster::{AccountUsage, LayerTotals, RosterPage, RosterQuery, UsageTotals};

impl HoldRepo {
    /// A page of the crew. Costs one look at each member at most.
    ///
    /// # Errors
    /// The index's.
    pub async fn roster(&self, query: &RosterQuery) -> Result<RosterPage, RepoError> {
        self.index().await?.roster(query).await
    }

    /// Those of `accounts` that are members, in no order.
    ///
    /// # Errors
    /// The index's.
    pub async fn members_among(&self, accounts: &[String]) -> Result<Vec<String>, RepoError> {
        self.index().await?.members_among(accounts).await
    }

    /// How many members each tier has that crew records name; `None` is for members without one.
    ///
    /// # Errors
    /// The index's.
    pub async fn crew_by_tier(&self) -> Result<Vec<(Option<String>, u64)>, RepoError> {
        self.index().await?.crew_by_tier().await
    }

    /// What all accounts keep, added up. Costs one look at each account.
    ///
    /// # Errors
    /// The index's.
    pub async fn usage_totals(&self) -> Result<UsageTotals, RepoError> {
        self.index().await?.usage_totals().await
    }

    /// The accounts that keep most, at most `limit`. Costs one look at each account.
    ///
    /// # Errors
    /// The index's.
    pub async fn largest_accounts(&self, limit: usize) -> Result<Vec<AccountUsage>, RepoError> {
        self.index().await?.largest_accounts(limit).await
    }

    /// What the layers are together, each digest once, and the `largest` of them. Looks at every layer of every account: for a
    /// background task.
    ///
    /// # Errors
    /// The index's.
    pub async fn layer_totals(&self, largest: usize) -> Result<LayerTotals, RepoError> {
        self.index().await?.layer_totals(largest).await
    }
}
