//! A file is one server's: there is nobody to share anything with.

use std::time::Duration;

use async_trait::async_trait;
use atcr_index::IndexError;
use atcr_index::ports::Leases;

use crate::SqliteIndex;

#[async_trait]
impl Leases for SqliteIndex {
    async fn hold_lease(&self, _: &str, _: &str, _: Duration) -> Result<bool, IndexError> {
        Ok(true)
    }

    async fn give_up_lease(&self, _: &str, _: &str) -> Result<(), IndexError> {
        Ok(())
    }
}
